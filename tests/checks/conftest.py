"""A store, and a report with one finding of every kind, and text that every format must escape."""

from __future__ import annotations

from pathlib import Path

import pytest

from engagelab_mock import CHECKS, Exchange, Finding, Headers, Judgement, Report, Response
from engagelab_mock.checks.finding import Change, Sent
from engagelab_mock.explore.state import Snapshot
from tests.checks.receivers.store import Store

#: Text that breaks XML, HTML and terminals: markup, quotes, control characters, half a surrogate pair.
NASTY = "<b>&\"' ]]> \x00\x1b[31m \ud800 é 密 \u202e </script>"

EXCHANGE = Exchange(
    method="POST",
    address="http://127.0.0.1:5000/engagelab",
    headers=(("X-CALLBACK-ID", f"signature={NASTY}"), ("X-CALLBACK-ID", "two")),
    body=NASTY.encode("utf-8", "surrogatepass") + b"\xff",
    answer=Response(500, NASTY, Headers([("Server", NASTY)]), NASTY.encode("utf-8", "surrogatepass")),
    outcome="not_200",
    error=NASTY,
    elapsed=0.1,
    faults=("wrong_secret",),
)
UNANSWERED = Exchange(
    method="GET",
    address="http://127.0.0.1:5000/engagelab",
    headers=(),
    body=b"x" * 10_000,
    answer=None,
    outcome="timeout",
    error="no complete answer within 3 s",
    elapsed=3.0,
)


@pytest.fixture
def report() -> Report:
    change = Change(Snapshot("7", None), Snapshot("7", [NASTY]))
    findings = (
        Finding(check=CHECKS["A01"], verdict=Judgement.PASS, exchanges=(EXCHANGE,)),
        Finding(check=CHECKS["A04"], verdict=Judgement.PASS, warnings=(NASTY,), basis="both"),
        Finding(check=CHECKS["A07"], verdict=Judgement.INCONCLUSIVE, reason=NASTY),
        Finding(check=CHECKS["A10"], verdict=Judgement.ERROR, reason=NASTY),
        Finding(
            check=CHECKS["B01"],
            verdict=Judgement.FAIL,
            reason=NASTY,
            basis="both",
            exchanges=(EXCHANGE,),
            changes=(change,),
        ),
        Finding(check=CHECKS["B03"], verdict=Judgement.FAIL, reason="it crashed", exchanges=(UNANSWERED,)),
        Finding(check=CHECKS["B07"], verdict=Judgement.FAIL, reason="it was refused", elapsed=0.25),
        Finding(
            check=CHECKS["B17"],
            verdict=Judgement.FAIL,
            reason="an effect",
            suppressed=f"mutual TLS {NASTY}",
            basis="state",
        ),
        Finding(check=CHECKS["B21"], verdict=Judgement.SKIPPED, reason="not over http"),
        Finding(check=CHECKS["C14"], verdict=Judgement.NOT_APPLICABLE, reason=NASTY),
    )
    sent = Sent(callbacks=9, pings=1, message_ids=("7", "8"), recipients=("+6591234567",))
    return Report(
        address="http://127.0.0.1:5000/engagelab?a=1&b=<2>", findings=findings, sent=sent, seed="0", elapsed=1.5
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "receiver.sqlite")
