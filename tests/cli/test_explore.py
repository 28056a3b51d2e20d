"""`explore`: the schedules of a receiver behind a URL, from the command line."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import flask
import pytest

from engagelab_mock import EngageLab, Receiver
from engagelab_mock.cli import main
from engagelab_mock.cli.explore import exit_code_of
from engagelab_mock.server.loopback import LoopbackServer
from tests.cli.conftest import PATIENCE, Command, Spawn
from tests.receivers.meeting import Meeting
from tests.receivers.racing import statuses

RANK = ["plan", "sent", "delivered", "verified"]


class Shop:
    """Keep the status of each message, and give one credit for a verification."""

    def __init__(self) -> None:
        self.orders: dict[str, dict[str, Any]] = {}
        self.seen: set[tuple[str, str]] = set()
        self.prepared: list[tuple[str, dict[str, Any]]] = []
        self.resets = 0

    def apply(self, message_id: str, status: str) -> None:
        order = self.order(message_id)
        if order["status"] is None or RANK.index(status) > RANK.index(order["status"]):
            order["status"] = status
        if status == "verified" and (message_id, status) not in self.seen:
            order["credits"] += 1
        self.seen.add((message_id, status))

    def order(self, message_id: str) -> dict[str, Any]:
        return self.orders.setdefault(message_id, {"status": None, "credits": 0})

    def empty(self) -> None:
        self.resets += 1
        self.orders.clear()
        self.seen.clear()

    # The addresses of the app.

    def engagelab(self) -> str:
        for message_id, status in statuses(flask.request.get_json(force=True, silent=True) or {"rows": []}):
            self.apply(message_id, status)
        return ""

    def state(self, message_id: str) -> Any:
        return self.orders.get(message_id) or ("", 404)

    def message(self, message_id: str) -> tuple[str, int]:
        self.prepared.append((flask.request.full_path, flask.request.get_json()))
        self.order(message_id)
        return "", 201

    def reset(self) -> str:
        self.empty()
        return ""


class LastWins(Shop):
    def apply(self, message_id: str, status: str) -> None:
        self.order(message_id)["status"] = status


class GivesTwice(Shop):
    def apply(self, message_id: str, status: str) -> None:
        super().apply(message_id, status)
        self.seen.clear()


class OnlyPrepared(Shop):
    def apply(self, message_id: str, status: str) -> None:
        if message_id in self.orders:
            super().apply(message_id, status)


class Forgets(Shop):
    def apply(self, message_id: str, status: str) -> None:
        self.order(message_id)

    def state(self, message_id: str) -> Any:
        return {"status": None}


class KeepsData(Shop):
    """Reset nothing."""

    def empty(self) -> None:
        self.resets += 1


class LooksFirst(Shop):
    """Look, wait for the handlers that look at the same time, and then give the credit."""

    def __init__(self, meeting: Meeting) -> None:
        super().__init__()
        self.meeting = meeting
        self.lock = threading.Lock()

    def apply(self, message_id: str, status: str) -> None:
        known = (message_id, status) in self.seen
        self.meeting.wait()
        with self.lock:
            if not known:
                self.seen.discard((message_id, status))
                super().apply(message_id, status)


class RefusesUntilReset(Shop):
    """Hold each callback until the test lets it go."""

    def __init__(self) -> None:
        super().__init__()
        self.arrived, self.go_on = threading.Event(), threading.Event()

    def apply(self, message_id: str, status: str) -> None:
        if self.resets > 3:
            self.arrived.set()
            self.go_on.wait(PATIENCE)
        super().apply(message_id, status)


@contextmanager
def served(shop: Shop) -> Iterator[str]:
    """Serve a shop, and yield its address without a path."""
    app = flask.Flask("shop")
    app.add_url_rule("/engagelab", "engagelab", shop.engagelab, methods=["POST"])
    app.add_url_rule("/state/<message_id>", "state", shop.state)
    app.add_url_rule("/messages/<message_id>", "message", shop.message, methods=["POST"])
    app.add_url_rule("/reset", "reset", shop.reset, methods=["POST"])
    app.add_url_rule("/broken", "broken", lambda: ("no such table\n", 500), methods=["POST"])
    with LoopbackServer(app) as server:
        yield server.url


Explore = Callable[..., Any]


@pytest.fixture
def explore(command: Command) -> Explore:
    """Explore a shop that shows its state and can be reset."""

    def run(base: str, *options: str, look: bool = True, reset: bool = True, form: str = "json") -> Any:
        looks = ["--observe", f"{base}/state/{{message_id}}"] * look + ["--reset", f"{base}/reset"] * reset
        return command("explore", f"{base}/engagelab", *looks, "--format", form, *options)

    return run


pytestmark = pytest.mark.slow


def test_a_correct_receiver_passes(explore: Explore) -> None:
    with served(Shop()) as base:
        result = explore(base, "--effect", "credits=verified", "--terminal", "verified", "--seed", "7")
    assert (result.code, result.err) == (0, "")
    summary = result.objects[-1]
    assert {**summary, "elapsed_ms": 0} == {
        "type": "summary",
        "ok": True,
        "url": f"{base}/engagelab",
        "schedules": 264,
        "total": 264,
        "played": 90,
        "audited": 20,
        "deliveries": summary["deliveries"],
        "states": 4,
        "observed": True,
        "failures": 0,
        "stopped": None,
        "notes": [],
        "seed": "7",
        "elapsed_ms": 0,
        "interrupted": False,
    }
    assert 264 < summary["deliveries"] < 500


def test_a_failure_has_the_shortest_schedule_and_a_command_that_plays_it_again(explore: Explore) -> None:
    with served(LastWins()) as base:
        result = explore(base)
        assert result.code == 1
        [failure] = [each for each in result.objects if each["type"] == "failure"]
        assert (failure["invariant"], failure["token"]) == ("converges", "eg1:verified,delivered")
        assert failure["found"] == "eg1:plan,sent,verified,delivered"
        assert [(each["delivery"], each["blamed"]) for each in failure["deliveries"]] == [
            ("verified", False),
            ("delivered", True),
        ]
        assert failure["deliveries"][1]["after"] == {"status": "delivered", "credits": 0}
        [line] = failure["replay"]
        again = subprocess.run(
            [sys.executable, "-m", *shlex.split(line.replace("-", "_", 1))], capture_output=True, text=True
        )
        assert (again.returncode, again.stderr) == (1, "")
        assert "converges: after `delivered`" in again.stdout
    with served(Shop()) as base:
        result = explore(base, "--replay", failure["token"])
        assert (result.code, result.objects[-1]["schedules"]) == (0, 1)


def test_a_receiver_with_another_secret_gets_a_hint(explore: Explore) -> None:
    class Refuses(Shop):
        def engagelab(self) -> Any:
            return "", 401

    with served(Refuses()) as base:
        result = explore(base, "--username", "acme", "--secret", "other", form="text")
    assert result.code == 1
    assert "  hint: it was signed as 'acme': does the receiver use the same username and secret?" in result.out


def test_the_report_for_people(explore: Explore, tmp_path: Path) -> None:
    with served(GivesTwice()) as base:
        result = explore(
            base,
            "--username",
            "acme",
            "--secret",
            "s3cret",
            "--report",
            "junit=out.xml",
            "--report",
            "html=out.html",
            form="text",
        )
    lines = result.out.splitlines()
    assert lines[1:3] == [
        f"{base}/engagelab  signed as acme",
        "✗ converges: after `verified`, expected {'credits': 1} (the result of in-order delivery), got {'credits': 2}",
    ]
    assert "  2  verified  200   credits=1  credits=2  <-- here" in lines
    assert "  replay  eg1:verified*2" in lines
    assert "    export ENGAGELAB_WEBHOOK_USERNAME=acme ENGAGELAB_WEBHOOK_SECRET=…" in lines
    assert "  verified: in every order, with up to 1 duplicate" in lines
    assert any(line.startswith("✗ 41 of 264 schedules: 1 failure") for line in lines)
    assert "s3cret" not in result.out
    case = ET.parse(tmp_path / "out.xml").getroot().find(".//testcase/failure")
    assert case is not None
    assert case.get("type") == "converges"
    assert "replay: eg1:verified*2" in str(case.text)
    page = (tmp_path / "out.html").read_text(encoding="utf-8")
    assert f"<code>{base}/engagelab</code>" in page
    assert "eg1:verified*2" in page


def test_what_merging_leaves_out_is_said(explore: Explore) -> None:
    with served(Shop()) as base:
        out = explore(base, form="text").out
        every = explore(base, "--no-merge", "--scenario", "delivered", form="text").out
    assert "✓ 264 of 264 schedules: no failure\n" in out
    assert "  90 schedules played, 20 of them as an audit, and 174 predicted from equal states\n" in out
    assert (
        "✓ 42 of 42 schedules: no failure\n  delivered: in every order, with up to 1 duplicate\n  162 callbacks in "
        in every
    )


def test_prepare_gets_the_data_of_the_message(explore: Explore) -> None:
    shop = OnlyPrepared()
    with served(shop) as base:
        prepare = f"{base}/messages/{{message_id}}?to={{to}}&by={{channel}}"
        options = ("--to", "+6591234567", "--template", "login", "--custom-arg", "order=7", "--channel", "voice")
        result = explore(base, "--scenario", "delivered", "--prepare", prepare, *options)
    assert (result.code, result.objects[-1]["failures"]) == (0, 0)
    path, body = shop.prepared[0]
    assert path == f"/messages/{body['message_id']}?to=%2B6591234567&by=voice"
    assert {name: body[name] for name in ("to", "channel", "template", "custom_args")} == {
        "to": "+6591234567",
        "channel": "voice",
        "template": "login",
        "custom_args": {"order": "7"},
    }


def test_commands_instead_of_addresses(command: Command, tmp_path: Path) -> None:
    database = tmp_path / "orders"
    database.mkdir()
    shop = OnlyPrepared()
    app = flask.Flask("files")

    def receive() -> str:
        for message_id, status in statuses(flask.request.get_json(force=True, silent=True) or {"rows": []}):
            if (row := database / message_id).exists():
                shop.orders = {message_id: {"status": row.read_text() or None, "credits": 0}}
                shop.apply(message_id, status)
                row.write_text(shop.orders[message_id]["status"])
        return ""

    app.add_url_rule("/", "receive", receive, methods=["POST"])
    with LoopbackServer(app) as server:
        look = ("--observe-command", f"cat {database}/{{message_id}}", "--prepare-command")
        enter = (f"touch {database}/{{message_id}}", "--reset-command", f"sh -c 'rm -f {database}/*'")
        result = command("explore", server.url, *look, *enter, "--scenario", "plan-sent", "--format", "json")
    assert (result.code, result.objects[-1]["states"]) == (0, 2)


def test_options_come_from_the_settings_and_the_environment(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(Shop()) as base:
        (tmp_path / "pyproject.toml").write_text(
            f"""[tool.engagelab-mock]
url = "{base}/engagelab"
[tool.engagelab-mock.explore]
observe = "{base}/state/{{message_id}}"
reset = "{base}/reset"
scenario = ["delivered", "plan-sent"]
effect = {{ credits = "verified" }}
duplicates = 3
"""
        )
        monkeypatch.setenv("ENGAGELAB_MOCK_EXPLORE_DUPLICATES", "0")
        result = command("explore", "--format", "json", "--effect", "credits=verified")
    assert (result.code, result.objects[-1]["total"]) == (0, 6 + 2)


@pytest.mark.parametrize(
    ("options", "total"),
    [
        (("--scenario", "plan-sent,plan-sent", "--duplicates", "0"), 24),
        (("--scenario", "delivered", "--no-orderings", "--duplicates", "2"), 1 + 6 + 25),
        (("--scenario", "delivered", "--duplicates", "0", "--batchings"), 13),
        (("--scenario", "delivered", "--duplicates", "0", "--faults", "ackloss,lost"), 6 + 6 * 3 * 2),
        (("--scenario", "delivered", "--faults", "at-least-once", "--duplicates", "0"), 6 + 6 * 3 * 4),
        (("--scenario", "verified", "--limit", "30"), 30),
    ],
)
def test_which_schedules_there_are(explore: Explore, options: tuple[str, ...], total: int) -> None:
    with served(Shop()) as base:
        result = explore(base, *options)
    assert (result.code, result.objects[-1]["total"]) == (0, total)


def test_races_are_searched_with_real_requests(explore: Explore, monkeypatch: pytest.MonkeyPatch) -> None:
    with served(LooksFirst(Meeting(monkeypatch))) as base:
        result = explore(base, "--concurrent", "2", "--rounds", "5")
        failure, summary = result.objects[-2:]
        assert (result.code, failure["token"]) == (1, "eg1:verified|verified")
        assert (failure["rounds"], failure["failed_rounds"]) == (5, 5)
        assert "up to 5 rounds of 7 combinations: a search, and not a proof" in summary["notes"][0]
        text = explore(base, "--replay", failure["token"], "--rounds", "6", form="text").out
        assert (
            "  of 6 more rounds of real requests" in text.replace("failed in", "  of", 0) or "of 6 more rounds" in text
        )
    with served(Shop()) as base:
        result = explore(base, "--replay", failure["token"], "--rounds", "6")
        assert (result.code, result.objects[-1]["schedules"]) == (0, 6)


def test_without_observe_only_answers_are_judged(explore: Explore) -> None:
    with served(Shop()) as base:
        result = explore(base, "--scenario", "plan-sent", look=False, form="text")
    assert result.code == 0
    assert "judged by the answers alone" in result.out
    assert "--observe would judge the state of the app" in result.out


def test_progress_is_told(explore: Explore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("engagelab_mock.cli.explore"), "_INTERVAL", 0.0)
    with served(Shop()) as base:
        result = explore(base, "--no-merge")
    told = [each for each in result.objects if each["type"] == "progress"]
    assert told
    assert list(told[0]) == ["type", "schedules", "total", "played", "audited", "deliveries", "states"]
    assert [each["schedules"] for each in told] == sorted(each["schedules"] for each in told)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_says_how_far_it_got(spawn: Spawn, number: int, code: int) -> None:
    shop = RefusesUntilReset()
    with served(shop) as base:
        look = ("--observe", f"{base}/state/{{message_id}}", "--reset", f"{base}/reset", "--no-merge")
        program = spawn("explore", f"{base}/engagelab", *look, "--timeout", f"{PATIENCE}", "--format", "json")
        assert shop.arrived.wait(PATIENCE)
        program.send_signal(number)
        out, err = program.communicate()
        shop.go_on.set()
    summary = json.loads(out.splitlines()[-1])
    assert (program.returncode, err.strip()) == (code, "")
    assert (summary["type"], summary["interrupted"], summary["ok"]) == ("summary", True, False)
    assert (summary["stopped"], summary["total"]) == ("interrupted", 264)
    assert 0 < summary["schedules"] < 5


def test_the_time_can_be_up(explore: Explore) -> None:
    with served(Shop()) as base:
        result = explore(base, "--no-merge", "--time-budget", "0.2", form="text")
    assert result.code == 0
    assert "· Out of time after " in result.out
    assert "✓" not in result.out


def test_no_time_at_all_is_no_success(explore: Explore) -> None:
    with served(Shop()) as base:
        result = explore(base, "--no-merge", "--time-budget", "0.000001")
    assert result.code == 2
    assert "no callback was sent, so nothing was judged: the time was up" in result.err


@pytest.mark.parametrize(
    ("shop", "options", "kind", "message", "hint"),
    [
        (OnlyPrepared, (), "ProbeFailed", "answered 404", "give --prepare, if the app ignores messages"),
        (Forgets, (), "NothingObserved", "--observe: the receiver showed no effect", "give --prepare, if"),
        (KeepsData, (), "ProbeFailed", "--reset: ", "--reset must empty every table"),
        (
            Shop,
            ("--prepare", "BASE/broken"),
            "ProbeFailed",
            "--prepare: BASE/broken answered 500",
            "it must answer 200",
        ),
        (Shop, ("--reset", "BASE/nowhere"), "ProbeFailed", "--reset: BASE/nowhere answered 404", "the right address"),
        (Shop, ("--reset", "http://127.0.0.1:1/"), "ProbeFailed", "--reset: http://127.0.0.1:1/: connection", "does"),
        (Shop, ("--observe", "BASE/nowhere/{message_id}"), "ProbeFailed", "answered 404", "is this the address"),
        (Shop, ("--effect", "credts=verified"), "NothingObserved", "no state had 'credts'", "did you mean 'credits'?"),
        (Shop, ("--replay", "eg1:sent|sent@a2b"), "UsageError", "--replay: the order 'a2b' cannot", "leave the order"),
    ],
)
def test_what_cannot_be_judged_exits_2(
    shop: type[Shop], options: tuple[str, ...], kind: str, message: str, hint: str, explore: Explore
) -> None:
    with served(shop()) as base:
        result = explore(base, *[each.replace("BASE", base) for each in options])
    error = result.objects[-1]
    assert (result.code, error["type"], error["error"]) == (2, "error", kind)
    assert message.replace("BASE", base) in error["message"]
    assert hint in error["hint"]


def test_a_receiver_that_works_after_its_answer(explore: Explore) -> None:
    class Later(Shop):
        """Work once the state was looked at: each look without waiting comes too early."""

        def __init__(self) -> None:
            super().__init__()
            self.left: list[tuple[str, str]] = []

        def engagelab(self) -> str:
            self.left += statuses(flask.request.get_json(force=True, silent=True) or {"rows": []})
            return ""

        def state(self, message_id: str) -> Any:
            seen = json.dumps(self.orders.get(message_id))
            while self.left:
                self.apply(*self.left.pop(0))
            return seen

        def empty(self) -> None:
            super().empty()
            self.left.clear()

    with served(Later()) as base:
        assert explore(base, "--scenario", "plan-sent").code in {1, 2}
        assert explore(base, "--scenario", "plan-sent", "--wait-idle", "0.05").code == 0


def test_a_receiver_that_is_not_there_is_unreachable(closed_url: str, command: Command) -> None:
    result = command("explore", closed_url, "--format", "json")
    assert (result.code, result.objects[-1]["error"]) == (3, "Unreachable")
    assert "give --wait 10" in result.objects[-1]["hint"]


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        (("--invariant", "never_regresses"), "--invariant: never_regresses() judges the", "--observe 'http://"),
        (("--merge",), "--merge: merge compares the states", "--observe 'http://"),
        (("--effect", "credits=verified"), "this receiver has effects, but no --observe", "--observe 'http://"),
        (("--concurrent", "2"), "judged by the app's state, and this receiver has no --observe", "--observe 'http://"),
        (("--concurrent", "4"), "--concurrent: concurrent is an integer from 2 to 3, not 4", ""),
        (("--duplicates", "-1"), "duplicates is an integer from 0, not -1", ""),
        (("--replay", "eg0:plan"), "--replay, at character 1: 'eg0:plan' does not", "this version of engagelab-mock"),
        (("--replay", "eg1:plan,delivred"), "unknown event 'delivred'", "did you mean 'delivered'?"),
        (("--faults", "acklos"), "unknown fault 'acklos'", "did you mean 'ackloss'?"),
    ],
)
def test_bad_input_that_needs_no_state(options: tuple[str, ...], message: str, hint: str, explore: Explore) -> None:
    with served(Shop()) as base:
        result = explore(base, *options, look=False)
    assert result.code == 2
    assert message in result.objects[-1]["message"]
    assert hint in result.objects[-1]["hint"]


def test_a_receiver_that_goes_away_while_it_is_explored_is_unreachable(closed_url: str) -> None:
    with EngageLab(Receiver.http(closed_url)) as engagelab:
        assert exit_code_of(engagelab.explore("plan-sent", check=False)) == 3


def test_the_address_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explore"]) == 2
    assert "the address of the receiver to explore is missing" in capsys.readouterr().err
