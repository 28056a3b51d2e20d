"""The tools for agents: they take lists and text, prepare an app, and are never ok if nothing was judged."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from typing import Any

import flask
import pytest

from engagelab_mock import CHECKS, EngageLab, Finding, Judgement, Receiver, Report, ScheduleFailed
from engagelab_mock.checks.finding import Sent
from engagelab_mock.checks.trial import NO_TIME
from engagelab_mock.cli.calling import Caller
from engagelab_mock.cli.mcp_tools import Tools, receiver_at
from engagelab_mock.clock import VirtualClock
from engagelab_mock.errors import EngageLabMockError, NothingObserved, UnknownName, UsageError
from engagelab_mock.server.loopback import LoopbackServer
from engagelab_mock.starters import section
from tests.cli.agent import agent, guide_app

pytestmark = pytest.mark.slow

RANK = ["plan", "sent_failed", "sent", "delivered_failed", "delivered", "verified_timeout", "verified"]


def table_app(*, keeps: bool = True) -> tuple[flask.Flask, dict[str, Any], list[str]]:
    """An app with a table of its messages: it ignores messages that it did not send, and has a switch for its mistake.

    It returns the app, the table, and the calls that are not callbacks.
    """
    app = flask.Flask("table")
    table: dict[str, Any] = {}
    calls: list[str] = []

    @app.post("/engagelab")
    def callback() -> tuple[str, int]:
        body = flask.request.get_data()
        for row in flask.json.loads(body)["rows"] if body else []:
            known, status = row["message_id"], row["status"]["message_status"]
            if known in table and (not keeps or table[known] is None or RANK.index(status) > RANK.index(table[known])):
                table[known] = status
        return "", 200

    @app.post("/messages/<message_id>")
    def prepare(message_id: str) -> tuple[str, int]:
        given = flask.request.get_json()
        calls.append(f"prepare {given['to'][:1]}")
        table[message_id] = None
        return "", 201

    @app.post("/reset")
    def reset() -> tuple[str, int]:
        calls.append("reset")
        table.clear()
        return "", 200

    @app.get("/state/<message_id>")
    def state(message_id: str) -> Any:
        return {"status": table[message_id]} if message_id in table else ("", 404)

    return app, table, calls


@contextmanager
def tools_for(*receivers: Receiver) -> Iterator[Tools]:
    """Yield the tools as the command makes them, in this process."""
    with ExitStack() as stack:
        callers = [stack.enter_context(closing(Caller(name))) for name in ("observe", "prepare", "reset")]
        engagelab = stack.enter_context(EngageLab(receivers, clock=VirtualClock(), defaults={"check": False}))
        yield Tools(engagelab, "http://127.0.0.1:8420", partial(receiver_at, callers))


# --- Arguments


@pytest.mark.asyncio
async def test_names_are_a_list_or_text_with_commas_and_a_wrong_one_gets_a_suggestion() -> None:
    app, _ = guide_app()
    with LoopbackServer(app) as server:
        async with agent("--url", f"{server.url}/engagelab", "--username", "acme", "--secret", "s3cret") as client:
            for only in (["A01", "B01"], "A01, B01", ["A01,B01"], ["ping-empty", "B01"]):
                found = await client.call("check", only=only)
                assert (found["counts"]["pass"], [each["id"] for each in found["failures"]]) == (1, ["B01"])
                assert found["ok"] is False
                assert found["next"].startswith("mend the failures")
            assert "did you mean 'A01'" in await client.refused("check", only=["A1"])
            assert "did you mean 'B17'" in await client.refused("check", only="A01,B177")
            assert "did you mean 'php'" in await client.refused("check", only="A01", language="phpp")
            [failure] = (await client.call("check", only=["B01"], language="php"))["failures"]
            assert failure["fix"] == {"text": CHECKS["B01"].fix.text, "php": section("php", "Signature")}
            assert "no scenario is named" not in await client.refused("explore", scenarios=["verified", "fallback"])
            observe = f"{server.url}/state/{{message_id}}"
            assert (await client.call("use_receiver", url=f"{server.url}/engagelab", observe=observe))["ok"]
            assert "no scenario is named" in await client.refused("explore", scenarios=[])


def test_the_worst_failures_are_whole_and_the_others_say_why() -> None:
    app, _ = guide_app()
    with LoopbackServer(app) as server, tools_for() as tools:
        observe = f"{server.url}/state/{{message_id}}"
        tools.use_receiver(f"{server.url}/engagelab", username="acme", secret="s3cret", observe=observe)
        failures = tools.check(only="B0*", language="go")["failures"]
        assert len(failures) > 6
        assert ["repro" in failure for failure in failures] == [True] * 5 + [False] * (len(failures) - 5)
        assert all(failure["reason"] and failure["fix"]["text"] for failure in failures)
        # Another one is whole if it is asked for.
        [last] = tools.check(only=failures[-1]["id"], language="go")["failures"]
        assert last["repro"].startswith("curl")
        assert last["fix"]["go"]


@pytest.mark.asyncio
async def test_an_app_with_a_table_is_explored_with_prepare_and_reset() -> None:
    app, table, calls = table_app()
    wrong, _, _ = table_app(keeps=False)
    with LoopbackServer(app) as server, LoopbackServer(wrong) as other:
        async with agent() as client:
            probe = {"observe": f"{server.url}/state/{{message_id}}"}
            url = f"{server.url}/engagelab"
            await client.call("use_receiver", url=url, **probe)
            # It ignores every callback: that must not be ok, and the agent learns of `prepare`.
            refused = await client.refused("explore")
            assert "no message has a state there" in refused
            assert "give prepare, if the app ignores messages" in refused
            assert refused.endswith("are arguments of use_receiver")

            probe |= {"prepare": f"{server.url}/messages/{{message_id}}", "reset": f"{server.url}/reset"}
            used = await client.call("use_receiver", url=url, **probe)
            assert (used["ok"], used["observed"], used["prepared"], used["reset"]) == (True, True, True, True)
            explored = await client.call("explore")
            assert explored["ok"], explored
            assert {*calls} == {"prepare +", "reset"}
            assert len(table) == 1

            probe = {name: value.replace(server.url, other.url) for name, value in probe.items()}
            await client.call("use_receiver", url=f"{other.url}/engagelab", **probe)
            explored = await client.call("explore")
            assert (explored["ok"], explored["next"].partition(":")[0]) == (
                False,
                "mend the receiver as the first report says, restart it, and replay the token; then explore again",
            )
            replayed = await client.call("replay", token=explored["failures"][0]["token"])
            assert replayed["ok"] is False
            assert "replay this token" in replayed["next"]

            misplaced = {**probe, "prepare": f"{other.url}/messages/{{id}}"}
            said = await client.refused("use_receiver", url=url, **misplaced)
            assert "prepare: unknown part in braces 'id'" in said
            await client.call("use_receiver", url=url, **{**probe, "reset": f"{other.url}/rest"})
            assert "reset: " in (said := await client.refused("explore"))
            assert "404" in said


@pytest.mark.asyncio
async def test_the_command_takes_prepare_and_reset() -> None:
    app, _, calls = table_app()
    with LoopbackServer(app) as server:
        options = ["--url", f"{server.url}/engagelab", "--observe", f"{server.url}/state/{{message_id}}"]
        options += ["--prepare", f"{server.url}/messages/{{message_id}}", "--reset", f"{server.url}/reset"]
        async with agent(*options) as client:
            assert (await client.call("replay", token="eg1:verified,delivered"))["ok"]
    assert {*calls} == {"prepare +", "reset"}


# --- Nothing judged is never ok


def test_without_a_receiver_nothing_is_ok() -> None:
    with tools_for() as tools:
        assert (tools.status()["ok"], "use_receiver" in tools.status()["next"]) == (False, True)
        for tool in (tools.send, tools.check, tools.explore, partial(tools.replay, "eg1:plan")):
            with pytest.raises(EngageLabMockError, match="use_receiver"):
                tool()
        for empty, hint in ((tools.inbox(), "send"), (tools.journal(), "send"), (tools.journal("7"), "message 7")):
            assert (empty["ok"], hint in empty["next"]) == (False, True)


def test_a_receiver_that_does_not_run_is_not_ok() -> None:
    with tools_for() as tools:
        used = tools.use_receiver("http://127.0.0.1:1/engagelab", observe="http://127.0.0.1:1/{message_id}")
        assert (used["ok"], used["receiver"]) == (False, "http://127.0.0.1:1/engagelab")
        assert "connection refused" in used["next"]
        for tool in (tools.check, tools.explore, partial(tools.replay, "eg1:plan")):
            with pytest.raises(EngageLabMockError, match=r"connection refused(.|\n)*start the app"):
                tool()
        sent = tools.send("delivered")
        assert (sent["ok"], sent["next"].partition(":")[0]) == (False, "plan was not acknowledged")
        # The code expires, and nothing takes that callback either.
        assert tools.clock(advance=3600)["ok"] is False


def test_refused_callbacks_that_time_brings_are_not_ok() -> None:
    app = flask.Flask("refusing")
    app.post("/engagelab")(lambda: ("", 500))
    with LoopbackServer(app) as server, tools_for(Receiver.http(f"{server.url}/engagelab")) as tools:
        sent = tools.send("delivered")
        assert (sent["ok"], "the handler failed" in sent["next"]) == (False, True)
        expired = tools.clock(advance=3600)
        assert (expired["ok"], expired["callbacks"], "call journal" in expired["next"]) == (False, 1, True)
        assert tools.clock(advance=1)["ok"]
        assert [each["statuses"] for each in tools.journal(sent["message_id"], last=1)["callbacks"]] == [
            ["verified_timeout"]
        ]


def test_a_check_that_sees_no_effects_is_not_ok_unless_the_answers_were_enough() -> None:
    app, _, _ = table_app()
    with LoopbackServer(app) as server, tools_for(Receiver.http(f"{server.url}/engagelab")) as tools:
        found = tools.check(only=["A01", "C01"])
        assert (found["ok"], found["failures"]) == (False, [])
        # Nothing is wrong with the run: a check of the same family was judged.
        found = tools.check(only=["A01", "A12"])
        assert (found["ok"], found["doubt"], "`observe`" in found["next"]) == (False, None, True)
        answered = tools.check(only="A01")
        assert (answered["ok"], "next" in answered, answered["counts"]["pass"]) == (True, False, 1)
        # Nothing applies to a receiver without a username and a secret.
        unsigned = tools.check(only=["B01"])
        assert (unsigned["ok"], unsigned["counts"]["skipped"]) == (False, len(CHECKS))
        assert "not signed" in unsigned["next"]


def test_a_check_for_which_there_was_no_time_is_not_ok(monkeypatch: pytest.MonkeyPatch) -> None:
    app, _, _ = table_app()
    findings = (
        Finding(check=CHECKS["A01"], verdict=Judgement.PASS),
        Finding(check=CHECKS["A10"], verdict=Judgement.INCONCLUSIVE, reason=NO_TIME),
    )
    report = Report(address="http://127.0.0.1/", findings=findings, sent=Sent(), observed=True)
    assert report.doubt == ""
    with LoopbackServer(app) as server, tools_for(Receiver.http(f"{server.url}/engagelab")) as tools:
        assert tools.check(only=["A*"], seconds=1e-9)["ok"] is False
        monkeypatch.setattr(EngageLab, "check", lambda *_, **__: report)
        found = tools.check()
        assert (found["ok"], "`seconds`, with only=A10" in found["next"]) == (False, True)


def test_an_exploration_that_judged_little_or_nothing_is_not_ok() -> None:
    app, _, _ = table_app()
    with LoopbackServer(app) as server:
        url, observe = f"{server.url}/engagelab", f"{server.url}/state/{{message_id}}"
        with tools_for() as tools:
            # A state that never changes.
            tools.use_receiver(url, observe=observe)
            for tool in (tools.explore, partial(tools.replay, "eg1:verified,delivered")):
                with pytest.raises(UsageError):
                    tool()
            tools.use_receiver(url, observe=observe, prepare=f"{server.url}/messages/{{message_id}}")
            assert tools.replay("eg1:verified,delivered")["ok"]
            late = tools.explore(["fallback_exhausted", "verified"], duplicates=2, seconds=1.0)
            assert (late["ok"], late["stopped"], late["failures"]) == (False, "time_budget", [])
            assert "the time was up" in late["next"]
        # Its settings tick none of the events.
        with tools_for(Receiver.http(url, events=["uplink_message"], observe=lambda message_id: 1)) as tools:
            with pytest.raises(NothingObserved, match="no callback was sent"):
                tools.explore()
            sent = tools.send()
            assert (sent["ok"], sent["acknowledged"], "no callback was sent" in sent["next"]) == (False, False, True)
            with pytest.raises((NothingObserved, ScheduleFailed)):
                tools.replay("eg1:verified,delivered")


def test_a_forged_callback_that_was_acknowledged_is_not_ok() -> None:
    trusting, _ = guide_app()
    careful = flask.Flask("careful")

    @careful.post("/engagelab")
    def callback() -> tuple[str, int]:
        from engagelab_mock import verify

        return "", 200 if verify(
            flask.request.headers.get("X-CALLBACK-ID"), username="acme", secret="s3cret", now=time.time()
        ) else 401

    for app, ok in ((trusting, False), (careful, True)):
        with LoopbackServer(app) as server, tools_for() as tools:
            tools.use_receiver(f"{server.url}/engagelab", username="acme", secret="s3cret")
            sent = tools.send("delivered", fault="wrong_secret")
            assert (sent["ok"], sent["acknowledged"]) == (ok, True)
            assert ok or "verify X-CALLBACK-ID" in sent["next"]
            assert [each["http_status"] for each in sent["callbacks"]] == ([401, 200] if ok else [200]) * 3


def test_a_wrong_code_is_not_ok() -> None:
    app, _ = guide_app()
    with LoopbackServer(app) as server, tools_for(Receiver.http(f"{server.url}/engagelab")) as tools:
        sent = tools.send("delivered")
        wrong = tools.verify(sent["message_id"], "000000")
        assert (wrong["ok"], wrong["verified"], "inbox" in wrong["next"]) == (False, False, True)
        unknown = tools.verify("7", "000000")
        assert unknown["ok"] is False
        [message] = tools.inbox(sent["to"])["messages"]
        assert tools.verify(sent["message_id"], message["code"])["ok"] is True


def test_an_unknown_language_gets_a_suggestion() -> None:
    with tools_for() as tools, pytest.raises(UnknownName, match="did you mean 'php'"):
        tools.check(language="phq")
