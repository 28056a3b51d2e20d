"""Checks: is this receiver ready for production?"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from flask import Flask, request

from engagelab_mock import EngageLab, Judgement, Message, Receiver, verify


class Shop:
    """An app that has sent messages, and keeps what becomes of them."""

    def __init__(self) -> None:
        self.effects: dict[str, list[str]] = {}
        self.mail_takes = 0.0
        self.flask = Flask("shop")
        self._lock = threading.Lock()

        @self.flask.post("/engagelab")
        def engagelab_callbacks() -> tuple[str, int]:
            if request.get_data() in (b"", b"{}"):
                return "", 200
            if not verify(request.headers.get("X-CALLBACK-ID"), username="acme", secret="s3cret", now=time.time()):
                return "", 401
            with self._lock:
                for row in request.get_json()["rows"]:
                    # Only messages of its own, and each event once.
                    effects = self.effects.get(row["message_id"])
                    if effects is not None and row["status"]["message_status"] not in effects:
                        effects.append(row["status"]["message_status"])
            threading.Thread(target=time.sleep, args=(self.mail_takes,), daemon=True).start()
            return "", 200


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture
def engagelab_receiver(shop: Shop) -> Receiver:
    return Receiver.wsgi(shop.flask, "/engagelab", username="acme", secret="s3cret")


# [check]
def test_the_receiver_is_ready(engagelab: EngageLab, shop: Shop) -> None:
    report = engagelab.check(
        observe=lambda message_id: shop.effects.get(message_id),
        prepare=lambda message: shop.effects.setdefault(message.id, []),
        only=["A*", "B*"],
        suppress={"B17": "reached over mutual TLS alone"},
    )
    report.assert_none("major")


# [report]
def test_what_a_report_holds(engagelab: EngageLab, shop: Shop) -> None:
    report = engagelab.check(only=["ping-*", "B17"], suppress={"B17": "reached over mutual TLS alone"})
    finding = report.finding("A01")
    assert finding.verdict == "pass"
    assert finding.basis == "answer"
    assert finding.exchanges[0].received.startswith("200 OK")
    # There is no `observe`, so whether a replay had an effect cannot be told.
    assert [finding.id for finding in report.of(Judgement.INCONCLUSIVE)] == ["B17"]
    # `assert_none` would fail: the report says of which family it judged nothing, and why.
    assert report.doubt.startswith("nothing was judged of Signature and authorization (B)")
    assert report.sent.pings == 3


# [stall]
@contextmanager
def stall(shop: Shop, seconds: float) -> Iterator[None]:
    shop.mail_takes = seconds
    yield
    shop.mail_takes = 0.0


def test_it_does_not_wait_for_the_mail_server(engagelab: EngageLab, shop: Shop) -> None:
    report = engagelab.check(only=["A07"], stall=lambda seconds: stall(shop, seconds))
    assert report.finding("A07").verdict == "pass"


# [options]
@pytest.fixture
def engagelab_check_options(shop: Shop) -> dict[str, Any]:
    def prepare(message: Message) -> None:
        shop.effects[message.id] = []

    return {
        "observe": lambda message_id: shop.effects.get(message_id),
        "prepare": prepare,
        "suppress": {"B17": "reached over mutual TLS alone"},
    }
