"""`engagelab-mock load`: a rate that is kept, a ledger, and a verdict that an incomplete run never passes."""

from __future__ import annotations

import asyncio
import json
import signal
import threading
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Command, Spawn
from tests.load import shop
from tests.patience import PATIENCE

RATE = ("--rate", "100", "--duration", "1")
SIGNED = ("--username", shop.USERNAME, "--secret", shop.SECRET)


@contextmanager
def target(app: shop.Shop) -> Iterator[tuple[str, ...]]:
    """Serve an app, and give the arguments that put a load on it and observe it."""
    with shop.serving(app) as receiver:
        base = receiver.address.removesuffix("/engagelab")
        yield (receiver.address, *SIGNED, "--observe", f"{base}/state/{{message_id}}", "--settle", "1")


def summary_of(out: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    assert found["type"] == "load"
    return found


@pytest.mark.slow
def test_a_right_receiver_exits_0_and_the_ledger_says_the_same_later(command: Command) -> None:
    with target(shop.Shop()) as arguments:
        options = (*RATE, "--mix", "verified=8,fallback=1,lost=1", "--duplicates", "0.05", "--reorder", "0.05")
        done = command(
            "load", *arguments, *options, "--effect", "credits=verified", "--ledger", "a", "--format", "json"
        )
        later = command("load", "report", "a", "--format", "json", *arguments[5:], "--effect", "credits=verified")
    summary, again = summary_of(done.out), summary_of(later.out)
    assert (done.code, later.code) == (0, 0)
    assert summary == again
    assert (summary["state"], summary["made"], summary["effects_judged"]) == ("clean", summary["asked"], True)
    assert sum(second["asked"] for second in summary["seconds"]) == summary["made"]


@pytest.mark.slow
def test_lost_messages_are_named_and_exit_1(command: Command) -> None:
    app = shop.Drops()
    with target(app) as arguments:
        done = command(
            "load", *arguments, *RATE, "--effect", "credits=verified", "--format", "json", "--report", "json=r"
        )
    cases = [each for each in done.objects if each["type"] == "case"]
    assert done.code == 1
    assert {each["message_id"] for each in cases} <= app.wrong
    assert {each["kind"] for each in cases} == {"lost"}
    assert summary_of(done.out)["counts"] == {"lost": len(cases)}
    report = json.loads(Path("r").read_text())
    assert report["cases"] == [{name: each[name] for name in each if name != "type"} for each in cases]


@pytest.mark.slow
def test_the_text_names_the_first_lost_messages(command: Command) -> None:
    app = shop.Drops()
    with target(app) as arguments:
        done = command("load", *arguments, *RATE)
    assert done.code == 1
    assert any(f"{message_id} (verified): " in done.out for message_id in app.wrong)
    assert "lost" in done.out.splitlines()[-1]


@pytest.mark.slow
def test_a_wrong_secret_and_a_wrong_address_of_the_state_get_a_hint(command: Command) -> None:
    with target(shop.Shop()) as (url, *_, observe, _settle, _seconds):
        other = ("--username", shop.USERNAME, "--secret", "other")
        refused = command("load", url, *other, "--rate", "5", "--duration", "1")
        unseen = command("load", url, *SIGNED, "--rate", "5", "--duration", "1", "--observe", f"{observe}/no")
    assert refused.code == 1
    assert "hint: does the receiver use the same username and secret?" in refused.out
    assert unseen.code == 2
    assert "hint: no message has a state there: is this the address that shows states?" in unseen.err


@pytest.mark.slow
def test_the_parts_of_two_machines_are_merged_and_a_missing_one_is_incomplete(command: Command) -> None:
    with target(shop.Shop()) as arguments:
        for part in ("1", "2"):
            options = (*RATE, "--seed", "a", "--part", f"{part}/2", "--ledger", part)
            done = command("load", *arguments, *options)
            assert (done.code, "have no ledger here" in done.out) == (0, True)
        both = command("load", "report", "1", "2", *arguments[5:], "--format", "json")
        one = command("load", "report", "1", *arguments[5:])
        twice = command("load", "report", "1", "1", *arguments[5:])
    assert both.code == 0
    summary = summary_of(both.out)
    assert (summary["workers"], summary["made"]) == (2, summary["asked"])
    assert (one.code, twice.code) == (2, 2)
    assert "of its 2 workers, 1 have no ledger here" in one.out
    assert "there are two ledgers of worker 0" in twice.out


@pytest.mark.slow
def test_a_load_that_was_not_observed_has_nothing_to_compare_states_with(command: Command) -> None:
    with target(shop.Shop()) as arguments:
        assert command("load", *arguments[:5], *RATE, "--ledger", "a").code == 0
        blind = command("load", "report", "a", *arguments[5:])
        judged = command("load", "report", "a", *arguments[5:], "--effect", "credits=verified")
    assert (blind.code, judged.code) == (2, 0)
    assert "the states have nothing to be compared with" in blind.out
    assert "only the effects are judged" in judged.out


@pytest.mark.slow
def test_a_sender_that_was_killed_leaves_an_incomplete_ledger(spawn: Spawn, command: Command) -> None:
    with target(shop.Shop()) as arguments:
        sender = spawn("load", *arguments, "--rate", "100", "--duration", "30", "--ledger", "a")
        wait_for_entries(Path("a"))
        sender.kill()
        sender.communicate()
        done = command("load", "report", "a", *arguments[5:])
    assert done.code == 2
    assert "it has no end marker: its worker was killed, or it still works" in done.out
    assert "the run is incomplete, so it proves nothing" in done.out


@pytest.mark.slow
def test_a_part_that_was_killed_makes_all_parts_incomplete(spawn: Spawn, command: Command) -> None:
    with target(shop.Shop()) as arguments:
        parts = [
            spawn(
                "load", *arguments, "--rate", "100", "--duration", "3", "--seed", "a", "--part", part, "--ledger", name
            )
            for part, name in (("1/2", "1"), ("2/2", "2"))
        ]
        wait_for_entries(Path("1"))
        parts[0].kill()
        for part in parts:
            part.communicate()
        done = command("load", "report", "1", "2", *arguments[5:], "--format", "json")
    summary = summary_of(done.out)
    assert [part.returncode for part in parts] == [-signal.SIGKILL, 0]
    assert (done.code, summary["state"], summary["counts"]) == (2, "incomplete", {})
    assert summary["problems"] == ["1: it has no end marker: its worker was killed, or it still works"]


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_load_well(spawn: Spawn, command: Command, number: int, code: int) -> None:
    with target(shop.Shop()) as arguments:
        sender = spawn("load", *arguments, "--rate", "100", "--duration", "60", "--ledger", "a", "--format", "json")
        wait_for_entries(Path("a"))
        sender.send_signal(number)
        out, err = sender.communicate()
        later = command("load", "report", "a")
    summary = summary_of(out)
    assert (sender.returncode, err.strip()) == (code, "")
    assert (summary["interrupted"], summary["state"], summary["counts"]) == (True, "incomplete", {})
    assert later.code == 2
    assert "it was interrupted" in later.out


class Slow(shop.Shop):
    """Answer questions about messages late, if it is told to, and tell when it was asked about twenty of them."""

    late = False

    def __init__(self) -> None:
        super().__init__()
        self.asked: set[str] = set()
        #: Set while messages of the load are observed: fewer are asked about before it.
        self.observed = threading.Event()

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: shop.Send) -> None:
        if scope.get("method") == "GET" and self.late:
            self.asked.add(scope["path"])
            if len(self.asked) >= 20:
                self.observed.set()
            await asyncio.sleep(0.1)
        await super().__call__(scope, receive, send)


@pytest.mark.slow
@pytest.mark.parametrize("again", [True, False])
def test_a_signal_ends_the_observation_well(spawn: Spawn, command: Command, again: bool) -> None:
    app = Slow()
    with target(app) as arguments:
        observe = (*arguments[5:], "--format", "json")
        if again:
            assert command("load", *arguments[:-2], "--rate", "800", "--duration", "2", "--ledger", "a").code == 0
        app.late = True
        options = ("report", "a", *observe) if again else (*arguments, "--rate", "800", "--duration", "2", *observe)
        sender = spawn("load", *options)
        assert app.observed.wait(3 * PATIENCE)  # after the load, of 2 s, and the start of a process
        sender.send_signal(signal.SIGINT)
        out, err = sender.communicate()
    summary = summary_of(out)
    assert (sender.returncode, err.strip()) == (130, "")
    assert summary["state"] == "incomplete"
    assert 0 < summary["observed"] < summary["messages"]
    assert f"it was stopped after {summary['observed']} messages were observed" in summary["problems"]


def wait_for_entries(path: Path) -> None:
    """Wait until a ledger has some deliveries; the watchdog of the sender ends a wait that never ends."""
    while not path.exists() or path.read_bytes().count(b"\n[") < 20:
        pass


@pytest.mark.slow
def test_a_rate_that_no_machine_makes_is_not_the_receivers_fault(command: Command) -> None:
    with target(shop.Shop()) as arguments:
        done = command("load", *arguments[:5], "--rate", "10000000", "--duration", "0.2", "--max-lateness", "0.2")
    assert "the generator could not keep the rate" in done.out
    # Such a rate is too much for the receiver, too, and that is said first.
    assert done.code == (1 if "not acknowledged" in done.out else 2)
    assert "nothing lost" not in done.out


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
def test_a_full_disk_ends_the_run_with_a_clear_error(command: Command) -> None:
    with target(shop.Shop()) as arguments:
        done = command("load", *arguments, *RATE, "--ledger", "/dev/full")
    assert done.code == 2
    assert "/dev/full: the ledger cannot be written: No space left on device" in done.err


@pytest.mark.slow
def test_a_disk_that_fills_in_the_load_leaves_an_incomplete_ledger(command: Command) -> None:
    """A limit of the size of a file fails as a full disk does: in the midst of the load."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with target(shop.Shop()) as arguments:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
        try:
            done = command("load", *arguments, "--rate", "200", "--duration", "30", "--ledger", "a")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        later = command("load", "report", "a", *arguments[5:], "--effect", "credits=verified")
    assert (done.code, later.code) == (2, 2)
    assert "a: the ledger cannot be written: File too large" in done.err
    assert "choose a file on a disk with room" in done.err
    assert "it has no end marker" in later.out
    assert "nothing lost" not in later.out


@pytest.mark.slow
def test_the_rate_is_doubled_until_the_receiver_breaks(command: Command) -> None:
    app = shop.Breaks()
    with target(app) as arguments:
        options = ("--rate", "50", "--duration", "2", "--until-it-breaks")
        done = command("load", *arguments, *options, "--ledger", "a", "--format", "json")
        later = command("load", "report", "a")
    summary = summary_of(done.out)
    assert [(stage["rate"], not stage["broke"]) for stage in summary["stages"]] == [
        (50, True),
        (100, True),
        (200, False),
    ]
    assert (summary["knee"], summary["state"], done.code) == (100, "clean", 0)
    assert "it held 100/s" in later.out


@pytest.mark.slow
def test_nothing_that_listens_exits_3(command: Command, closed_url: str) -> None:
    done = command("load", closed_url, *SIGNED, *RATE)
    assert done.code == 3
    assert "connection refused: nothing listens on" in done.out


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("http://192.0.2.1/", "--rate", "1"), "URL: 192.0.2.1 is not this machine, and a load can make it unusable"),
        (("http://127.0.0.1.example.com/", "--rate", "1"), "URL: 127.0.0.1.example.com is not this machine"),
        (("http://localhost.example.com/", "--rate", "1"), "URL: localhost.example.com is not this machine"),
        (("http://192.0.2.1/", "--rate", "1", "--processes", "2"), "URL: 192.0.2.1 is not this machine"),
        (("http://192.0.2.1/", "--rate", "1", "--worker"), "URL: 192.0.2.1 is not this machine"),
        ((), "URL: the address of the receiver is missing"),
        (("http://127.0.0.1:1/",), "--rate: a load needs its rate"),
        (("http://127.0.0.1:1/", "--rate", "0"), "--rate: it is a number above 0, not 0"),
        (("http://127.0.0.1:1/", "http://127.0.0.1:2/", "--rate", "1"), "URL: a load has one URL, not 2"),
        (("http://127.0.0.1:1/", "--rate", "9", "--mix", "verified"), "--mix: 'verified' is not NAME=NUMBER"),
        (("http://127.0.0.1:1/", "--rate", "9", "--mix", "verfied=1"), "--mix: unknown scenario 'verfied'"),
        (("http://127.0.0.1:1/", "--rate", "9", "--faults", "ackloss=1"), "unknown fault 'ackloss'"),
        (("http://127.0.0.1:1/", "--rate", "9", "--part", "3/2"), "--part: '3/2' is not I/N"),
        (("http://127.0.0.1:1/", "--rate", "9", "--report", "pdf=x"), "--report: unknown kind of report 'pdf'"),
        (("http://127.0.0.1:1/", "--rate", "9", "--report", "json=none/x"), "--report: directory not found"),
        (("http://127.0.0.1:1/", "--rate", "9", "--ramp", "2", "--duration", "1"), "--ramp: it is a number of seconds"),
        (("http://127.0.0.1:1/", "--rate", "9", "--effect", "credits=verified"), "effects, but no observe"),
        (("report",), "no ledger was given"),
        (("report", "nowhere"), "nowhere: the ledger cannot be read"),
    ],
)
def test_what_cannot_be_used_is_an_error(command: Command, arguments: tuple[str, ...], error: str) -> None:
    done = command("load", *arguments)
    assert done.code == 2
    assert error in done.err
