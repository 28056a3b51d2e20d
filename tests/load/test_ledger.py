"""The ledger: its format, a reader that follows its writer, and everything that makes it incomplete."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engagelab_mock import EngageLabMockError, UsageError
from engagelab_mock.load.ledger import Baseline, Entry, Header, LedgerReader, LedgerWriter, Reason

HEADER = Header(run="a", url="http://127.0.0.1:5000/", started=0.0)


def entry(message_id: str = "7", outcome: str = "acknowledged") -> Entry:
    return Entry(message_id, "+6591234567", "delivered", 2, 3, "delivered", 0, 1.0, 1.5, 0.25, outcome, 200)


def written(path: Path, count: int = 3) -> Path:
    with LedgerWriter(path, HEADER) as ledger:
        for number in range(count):
            ledger.add(entry(str(number)))
        ledger.end("finished", asked=count)
    return path


def test_a_ledger_that_was_ended_is_complete(tmp_path: Path) -> None:
    reader = LedgerReader(written(tmp_path / "a"))
    assert [each.message_id for each in reader] == ["0", "1", "2"]
    assert reader.complete
    assert reader.end is not None
    assert reader.end.outcomes == {"acknowledged": 3}


def test_the_header_names_the_columns_of_a_line(tmp_path: Path) -> None:
    header, line, _ = (json.loads(each) for each in written(tmp_path / "a", 1).read_text().splitlines())
    named = dict(zip(header["columns"], line, strict=True))
    assert (named["message_id"], named["outcome"], named["answer"]) == ("0", "acknowledged", 200)


def test_a_ledger_can_be_read_while_it_is_written(tmp_path: Path) -> None:
    with LedgerWriter(tmp_path / "a", HEADER) as ledger:
        ledger.write(Baseline(scenario="delivered", states=({"status": "delivered"},)))
        ledger.add(entry())
        ledger.flush()
        reader = LedgerReader(tmp_path / "a")
        assert len(list(reader)) == 1
        assert [each.states for each in reader.baselines] == [({"status": "delivered"},)]
        assert not reader.complete


@pytest.mark.parametrize("kept", [-1, -10])
def test_a_ledger_cut_off_is_incomplete_and_its_whole_lines_can_be_read(tmp_path: Path, kept: int) -> None:
    path = written(tmp_path / "a")
    path.write_bytes(path.read_bytes()[:kept])
    reader = LedgerReader(path)
    assert len(list(reader)) == 3
    assert reader.problem == "it has no end marker: its worker was killed, or it still works"


def test_a_ledger_that_lacks_a_line_is_incomplete(tmp_path: Path) -> None:
    path = written(tmp_path / "a")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], *lines[2:]]))
    reader = LedgerReader(path)
    assert len(list(reader)) == 2
    assert reader.problem == "it has 2 deliveries, and its end marker counts 3"


@pytest.mark.parametrize(
    ("reason", "problem"), [("interrupted", "it was interrupted"), ("failed", "its worker failed: no memory")]
)
def test_a_ledger_that_ended_early_is_incomplete(tmp_path: Path, reason: Reason, problem: str) -> None:
    with LedgerWriter(tmp_path / "a", HEADER) as ledger:
        ledger.end(reason, asked=0, error="no memory")
    reader = LedgerReader(tmp_path / "a")
    assert list(reader) == []
    assert reader.problem == problem


def test_two_ledgers_in_one_file_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a", 1)
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0] + path.read_bytes())
    with pytest.raises(UsageError, match="line 2: it has a second header"):
        list(LedgerReader(path))


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = written(tmp_path / "a")
    path.write_bytes(path.read_bytes().replace(b'["1"', b"[1"))
    with pytest.raises(UsageError, match="line 3: the line is damaged: Expected `str`, got `int`"):
        list(LedgerReader(path))


@pytest.mark.parametrize("content", [b"", b"GET /\n", b'{"type":"engagelab-tape","version":1}\n', b"[]\n", b"\xff\n"])
def test_a_file_that_is_not_a_ledger_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(UsageError, match="this is not a ledger"):
        LedgerReader(tmp_path / "a")


def test_a_ledger_of_a_later_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b'{"type":"engagelab-ledger","version":2}\n')
    with pytest.raises(UsageError, match="the ledger has version 2"):
        LedgerReader(tmp_path / "a")


def test_a_ledger_is_never_overwritten(tmp_path: Path) -> None:
    written(tmp_path / "a")
    with pytest.raises(UsageError, match="the file exists"):
        LedgerWriter(tmp_path / "a", HEADER)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
def test_a_full_disk_is_a_clear_error() -> None:
    with pytest.raises(EngageLabMockError, match="/dev/full: the ledger cannot be written: No space left on device"):
        LedgerWriter("/dev/full", HEADER)
