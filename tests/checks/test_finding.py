"""The token of a finding: it sends again what showed the failure."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from engagelab_mock import EngageLab, Finding, Receiver, Schedule, ScheduleFailed, StatusEvent, decode, never_regresses
from engagelab_mock.explore.played import Played
from tests.checks.receivers.correct import ALONG, PATH, SETTINGS
from tests.checks.receivers.mutant import Mutant
from tests.checks.receivers.mutants import MUTANTS
from tests.checks.receivers.ordering import KeepsWhatCameLast
from tests.checks.receivers.store import Store
from tests.checks.serving import check_in_process, check_over_a_socket

#: A schedule cannot have copies at once, a disconnect at a certain moment, or `prepare` between callbacks.
NO_SCHEDULE = {"C02", "C04", "C13"}
PLAYABLE = {*(f"C{number:02}" for number in range(1, 16)), "D01", "D02", "D03"} - NO_SCHEDULE


def played_again(token: str, mutant: Mutant, directory: Path, **options: Any) -> Played:
    """Play a token against a new, empty receiver of the same kind."""
    # The second time, the nonces are the same, but the events have other times: with the same store, the receiver
    # would refuse them.
    store = Store(Path(tempfile.mkdtemp(dir=directory)) / "receiver.sqlite")
    observing = partial(mutant.observe, store)
    receiver = Receiver.wsgi(mutant.app(mutant.kind(store)), PATH, observe=observing, **SETTINGS | mutant.options)
    with EngageLab(receiver) as engagelab:
        return engagelab.play(token, **options)


def test_the_token_of_a_wrong_order_shows_the_regression(tmp_path: Path) -> None:
    mutant = Mutant("C06", KeepsWhatCameLast)
    token = check_in_process(mutant, tmp_path, only=["C06"]).finding("C06").token

    assert token == "eg1:delivered,sent"
    assert Schedule.parse(token).token == token
    played = played_again(token, mutant, tmp_path)
    assert [record.after["status"] for record in played.records] == ["delivered", "sent"]
    order = sorted(ALONG, key=lambda status: ALONG[status])
    with pytest.raises(ScheduleFailed, match="never_regresses"):
        played_again(token, mutant, tmp_path, invariants=[never_regresses(order=order)])


def rows_of(bodies: list[bytes]) -> list[list[tuple[object, ...]]]:
    """Return the fields of the status rows in callbacks, with times counted from the first event."""
    callbacks = [[row for row in decode(body).rows if isinstance(row, StatusEvent)] for body in bodies]
    first = min(row.itime for rows in callbacks for row in rows)
    return [[fields_of(row, first) for row in rows] for rows in callbacks]


def fields_of(row: StatusEvent, first: int) -> tuple[object, ...]:
    status, data = row.status, row.status.status_data
    return row.name, data.current_send_channel, status.error_code, status.error_detail, row.itime - first


@pytest.mark.parametrize(
    "mutant",
    [each for each in MUTANTS if "wsgi" in each.over and each.id in PLAYABLE],
    ids=lambda mutant: f"{mutant.id}-{mutant.name}",
)
def test_a_token_sends_what_the_finding_shows(mutant: Mutant, tmp_path: Path) -> None:
    finding = check_in_process(mutant, tmp_path, only=[mutant.id]).finding(mutant.id)
    assert finding.token
    assert finding.repro.startswith("engagelab.play('eg1:")
    assert Schedule.parse(finding.token).token == finding.token
    played = played_again(finding.token, mutant, tmp_path, check=False)
    again = rows_of([record.attempt.callback.body for record in played.records])
    assert again == rows_of([exchange.body for exchange in finding.exchanges[-len(again) :]])


@pytest.mark.parametrize(
    "mutant",
    [each for each in MUTANTS if "wsgi" in each.over and each.id in NO_SCHEDULE],
    ids=lambda mutant: f"{mutant.id}-{mutant.name}",
)
def test_a_finding_without_a_schedule_has_no_token(mutant: Mutant, tmp_path: Path) -> None:
    assert check_in_process(mutant, tmp_path, only=[mutant.id]).finding(mutant.id).token == ""


def test_a_passed_check_has_no_token(tmp_path: Path) -> None:
    finding = check_in_process(Mutant("", KeepsWhatCameLast), tmp_path, only=["C01"]).finding("C01")
    assert (str(finding.verdict), finding.token) == ("pass", "")


def test_over_a_socket_it_is_a_command(tmp_path: Path) -> None:
    finding: Finding = check_over_a_socket(Mutant("C06", KeepsWhatCameLast), tmp_path, only=["C06"]).finding("C06")
    note, line = finding.repro.splitlines()
    assert line == f"engagelab-mock send --replay {finding.token} --url {finding.exchanges[-1].address}"
    variables = "ENGAGELAB_WEBHOOK_USERNAME=acme ENGAGELAB_WEBHOOK_SECRET=… ENGAGELAB_MOCK_AUTHORIZATION=…"
    assert note == f"# first: export {variables}"
