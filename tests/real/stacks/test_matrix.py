"""The stored matrix, and so the documentation, is right about every stack."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from engagelab_mock import EngageLab
from tests.real.stacks.matrix import Row, stored
from tests.real.stacks.measure import STIMULI, Cell, interim_answers, measure, versions
from tests.real.stacks.process import PATIENCE, Stack, running
from tests.real.stacks.servers import STACKS

ROOT = Path(__file__).parents[3]
ROWS = stored()
#: How long to wait for a request that never comes according to the matrix, in seconds.
NEVER = 0.2
SEQUENCE = ["plan", "sent", "delivered", "verified"]


@pytest.fixture(scope="module", params=STACKS)
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running(request.param, tmp_path_factory.mktemp("stack")) as stack:
        yield stack


def test_the_matrix_is_complete() -> None:
    assert list(ROWS) == list(STACKS)
    assert {name: list(row.cells) for name, row in ROWS.items()} == {name: list(STIMULI) for name in STACKS}


def differences(stack: Stack, row: Row) -> dict[str, tuple[Cell, Cell]]:
    """Measure every stimulus, and return those whose (stored, measured) cells differ."""
    found = {}
    for stimulus, cell in row.cells.items():
        measured = measure(stack, stimulus, patience=PATIENCE if cell.calls else NEVER)
        if measured != cell:
            found[stimulus] = (cell, measured)
    return found


def test_the_app_gets_the_parts_that_the_matrix_names(stack: Stack) -> None:
    row = ROWS[stack.name]
    found = differences(stack, row)
    if found and versions(stack.name) != row.versions:
        # What a server does is its own business; a new release of one is news for the page, not a fault of ours.
        pytest.xfail(f"measured with {row.versions}, here is {versions(stack.name)}: `python -m tests.real.stacks`")
    assert found == {}
    assert interim_answers(stack, patience=PATIENCE if row.continues else NEVER) == row.continues


def test_every_callback_that_is_sent_whole_is_answered_200() -> None:
    cells = [(stimulus, cell.status) for row in ROWS.values() for stimulus, cell in row.cells.items()]
    assert {stimulus for stimulus, status in cells if status != 200} == {"short_body"}


def test_the_next_callback_is_acknowledged_after_anything() -> None:
    assert {cell.then for row in ROWS.values() for cell in row.cells.values()} == {"kept", "new"}


@pytest.mark.parametrize("stack", [name for name in STACKS if name.startswith("Flask")], indirect=True)
@pytest.mark.parametrize("fault", [None, "chunked", "slow_body"])
def test_the_vendors_sdk_verifies_and_parses_every_request_that_reaches_flask(stack: Stack, fault: str | None) -> None:
    stack.record.clear()
    with EngageLab(stack.receiver("/sdk")) as engagelab:
        run = engagelab.send("+6591234567", fault=fault, check=True)
    # The SDK's view answers 200 to a body it cannot parse: a lost one shows in what its handler got, or never got.
    lost = fault is not None and ROWS[stack.name].cells[fault].body == "empty"
    seen = [status for seen in stack.record.read() for status in seen.statuses]
    assert run.acknowledged
    assert seen == ([] if lost else SEQUENCE)


def test_the_vendors_sdk_refuses_a_forged_signature_on_a_real_server(tmp_path: Path) -> None:
    with running("Flask, waitress", tmp_path) as stack, EngageLab(stack.receiver("/sdk")) as engagelab:
        [delivery] = engagelab.send("+6591234567", scenario=["plan"], fault="wrong_secret").deliveries
        assert delivery.attempts[0].response is not None
        assert delivery.attempts[0].response.status == 401
        assert not any(seen.statuses for seen in stack.record.read())


def test_a_cell_that_is_wrong_is_noticed(tmp_path: Path) -> None:
    row = ROWS["Flask, wsgiref"]
    wrong = msgspec.structs.replace(row.cells["chunked"], body="whole")
    with running("Flask, wsgiref", tmp_path) as stack:
        only = msgspec.structs.replace(row, cells={"chunked": wrong, "plain": row.cells["plain"]})
        assert differences(stack, only) == {"chunked": (wrong, row.cells["chunked"])}


def still_answers(url: str) -> bool:
    host, _, port = url.removeprefix("http://").partition(":")
    try:
        socket.create_connection((host, int(port)), timeout=PATIENCE).close()
    except ConnectionError:  # refused, or reset while it stopped listening
        return False
    return True


def test_no_process_outlives_a_failing_test(tmp_path: Path) -> None:
    stacks = []

    def failing() -> None:
        with running("Flask, gunicorn sync", tmp_path) as stack:
            stacks.append(stack)
            assert still_answers(stack.url)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing()
    assert not still_answers(stacks[0].url)


def test_no_process_outlives_a_test_run_that_is_killed(tmp_path: Path) -> None:
    program = """
import os, sys
from pathlib import Path
from tests.real.stacks.process import running
with running("Flask, gunicorn sync", Path(sys.argv[1])) as stack:
    print(stack.url, flush=True)
    os._exit(0)
"""
    command = [sys.executable, "-c", program, str(tmp_path)]
    killed = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=PATIENCE, cwd=ROOT)
    url = killed.stdout.strip()
    assert url.startswith("http://127.0.0.1:")
    deadline = time.monotonic() + PATIENCE
    while still_answers(url):
        assert time.monotonic() < deadline
