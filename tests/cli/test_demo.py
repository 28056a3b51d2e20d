from __future__ import annotations

import re
import textwrap

import pytest

from engagelab_mock import CATALOGUE, EngageLab, Journal, Receiver, Recorder
from engagelab_mock.cli.demo import run_demo
from engagelab_mock.cli.output import Output
from tests.cli.conftest import Command
from tests.pytest_plugin.conftest import QUICK, STRICT


def demonstrate(receiver: Receiver, recorder: Recorder, *, form: str = "json") -> bool:
    """Play the demo to a receiver other than the bundled one, which no command line can do."""
    journal = Journal()
    with EngageLab(receiver, code_ttl=None, journal=journal) as engagelab:
        return run_demo(engagelab, journal, recorder, Output(form))


def test_every_scenario_is_sent_and_acknowledged(program: Command) -> None:
    result = program("demo", "--format", "json")

    runs = [entry for entry in result.objects if entry["type"] == "run"]
    assert (result.code, result.err) == (0, "")
    assert [run["scenario"] for run in runs] == list(CATALOGUE)
    assert [run["statuses"] for run in runs] == [scenario.statuses for scenario in CATALOGUE.values()]
    assert all(run["acknowledged"] for run in runs)
    assert len({run["message_id"] for run in runs}) == len(CATALOGUE)
    assert result.objects[-1] == {
        "type": "summary",
        "runs": len(CATALOGUE),
        "acknowledged": len(CATALOGUE),
        "signatures_valid": True,
        "callbacks": sum(len(scenario.statuses) for scenario in CATALOGUE.values()),
        "interrupted": False,
    }


def test_the_address_is_validated_first_with_both_documented_bodies(command: Command) -> None:
    pings = command("demo", "--format", "json").objects[:2]

    assert [(ping["type"], ping["body"], ping["http_status"]) for ping in pings] == [
        ("validation", "", 200),
        ("validation", "{}", 200),
    ]


def test_text_has_one_line_for_each_scenario(program: Command) -> None:
    result = program("demo")

    lines = [line for line in result.out.splitlines() if line.startswith("  ✓ ")]
    assert (result.code, result.err) == (0, "")
    assert [line[4:22].rstrip() for line in lines] == ["address validation", *CATALOGUE]
    for scenario, line in zip(CATALOGUE.values(), lines[1:], strict=True):
        number = len(scenario.statuses)
        assert line[24:].split("  ")[0] == f"{number} callback{'s' * (number != 1)}"
        assert line.endswith(scenario.description)
    assert "39 callbacks in 11 scenarios: all acknowledged, every signature valid" in result.out
    assert "✗" not in result.out


def test_every_callback_is_shown_when_asked(command: Command) -> None:
    result = command("demo", "--verbose")

    lines = [line.split() for line in result.out.splitlines()]
    assert result.code == 0
    for scenario in CATALOGUE.values():
        assert f"{scenario.name}  {scenario.description}" in result.out
    read = lines[lines.index(["read", *CATALOGUE["read"].description.split()]) :]
    assert [line[:-2] for line in read[1:5]] == [
        ["✓", "+0", "s", "plan", "200"],
        ["✓", "+2", "s", "sent", "whatsapp", "200"],
        ["✓", "+5", "s", "delivered", "whatsapp", "200"],
        ["✓", "+15", "s", "read", "whatsapp", "200"],
    ]
    assert "            carries error 5001: sender config is invalid\n" in result.out


@pytest.mark.parametrize("columns", [60, 80])
@pytest.mark.parametrize("options", [(), ("-v",)])
def test_it_fits(command: Command, monkeypatch: pytest.MonkeyPatch, columns: int, options: tuple[str, ...]) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = command("demo", *options).out.splitlines()

    assert max(map(len, lines)) <= columns
    assert all(line == line.rstrip() for line in lines)


def test_it_ends_with_a_test_of_the_readers_own_app(command: Command, pytester: pytest.Pytester) -> None:
    out = command("demo").out
    pytester.makepyfile(
        shop="import flask; app = flask.Flask('shop')", test_shop=textwrap.dedent(out[out.index("  import pytest") :])
    )
    tested = pytester.runpytest_inprocess(*STRICT, *QUICK)

    tested.assert_outcomes(failed=1)
    # The reader's app has no such route yet.
    tested.stdout.fnmatch_lines(["*NotAcknowledged: plan was not acknowledged: answered 404 NOT FOUND*"])
    assert "engagelab-mock check http://127.0.0.1:5000/engagelab" in out


def test_a_seed_makes_the_same_ids_again(command: Command) -> None:
    def ids(seed: str) -> list[str]:
        result = command("demo", "--seed", seed, "--format", "json")
        return [entry["message_id"] for entry in result.objects if entry["type"] == "run"]

    first = ids("a")
    assert ids("a") == first
    assert ids("b") != first


def test_in_real_time_every_callback_is_shown_at_once(command: Command) -> None:
    lines = command("demo", "--speed", "1e9").out.splitlines()

    sent = [status for each in CATALOGUE.values() for status in each.statuses if status == "sent"]
    assert sum(" s  sent  " in line for line in lines) == len(sent)


def test_delays_can_pass_in_real_time(command: Command) -> None:
    result = command("demo", "--speed", "100000", "--format", "json")

    assert (result.code, result.objects[-1]["runs"]) == (0, 11)


def test_a_receiver_that_refuses_the_signature_makes_it_fail() -> None:
    receiver = Receiver.recording(username="acme", secret="s3cret").with_settings(secret="another")
    assert receiver.recorder is not None

    assert not demonstrate(receiver, receiver.recorder)


def test_callbacks_that_did_not_arrive_are_not_valid() -> None:
    assert not demonstrate(Receiver.recording(), Recorder())


def test_a_refused_signature_is_shown_with_its_reason(capsys: pytest.CaptureFixture[str]) -> None:
    receiver = Receiver.recording(username="acme", secret="s3cret").with_settings(secret="another")
    assert receiver.recorder is not None

    demonstrate(receiver, receiver.recorder, form="text")

    said = capsys.readouterr().out
    assert re.search(r"✗   \+0 s  plan                        401 +\d+\.\d ms  signature mismatch\n", said)
    assert "the signature was not made with this secret" in said
    assert "1 of 11 acknowledged, not every signature valid" in said


def test_a_receiver_that_does_not_answer_200_makes_it_fail() -> None:
    receiver = Receiver.recording()
    assert receiver.recorder is not None
    receiver.recorder.answer = 204

    assert not demonstrate(receiver, receiver.recorder)


def test_a_refused_address_validation_makes_it_fail() -> None:
    receiver = Receiver.recording()
    recorder = receiver.recorder
    assert recorder is not None
    recorder.answer = 503
    recorder.on_received = lambda received: setattr(recorder, "answer", 200 if len(recorder.received) >= 2 else 503)

    assert not demonstrate(receiver, recorder)
    assert {received.status for received in recorder.received if not received.ping} == {200}


def test_a_correct_receiver_passes() -> None:
    receiver = Receiver.recording()
    assert receiver.recorder is not None

    assert demonstrate(receiver, receiver.recorder)
