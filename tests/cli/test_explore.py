"""`explore`: the schedules of a receiver behind a URL, from the command line."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import flask
import pytest

from engagelab_mock.server.loopback import LoopbackServer
from tests.cli.conftest import PATIENCE, Command, Explore, Spawn
from tests.cli.exploring import GivesTwice, LastWins, LooksFirst, OnlyPrepared, RefusesUntilReset, Shop, served
from tests.receivers.meeting import Meeting
from tests.receivers.racing import statuses

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
