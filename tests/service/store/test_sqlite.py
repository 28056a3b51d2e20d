"""A store in a file keeps its records; a file that is not a store is refused."""

from __future__ import annotations

import shutil
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engagelab_mock import UsageError
from engagelab_mock.service.store.sqlite import SCHEMA, SqliteStore


class Note(msgspec.Struct):
    key: str
    text: str = ""
    number: float = 0.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mock.sqlite"


def notes(path: Path, kind: str = "note") -> list[Note]:
    with SqliteStore(path) as store:
        return list(store.load(kind, Note))


TEXT = st.text(max_size=8)
CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from("ab"), TEXT, TEXT),
        st.tuples(st.just("delete"), st.sampled_from("ab"), TEXT),
        st.tuples(st.just("clear")),
    ),
    max_size=20,
)


@given(st.lists(st.tuples(CHANGES, st.booleans()), max_size=4))
@settings(derandomize=True, max_examples=40, deadline=None)
def test_loaded_records_equal_the_stored_ones(
    tmp_path_factory: pytest.TempPathFactory, blocks: list[tuple[list[tuple[str, ...]], bool]]
) -> None:
    path = tmp_path_factory.mktemp("store") / "mock.sqlite"
    model: dict[tuple[str, str], str] = {}
    for changes, fails in blocks:
        before = dict(model)
        try:
            with SqliteStore(path) as store, store.transaction():
                for what, *arguments in changes:
                    if what == "put":
                        kind, key, text = arguments
                        store.put(kind, key, Note(key, text))
                        model[kind, key] = text
                    elif what == "delete":
                        store.delete(*arguments)
                        model.pop((arguments[0], arguments[1]), None)
                    else:
                        store.clear()
                        model.clear()
                if fails:
                    raise LookupError
        except LookupError:
            model = before
    for kind in "ab":
        assert [(note.key, note.text) for note in notes(path, kind)] == [
            (key, text) for (of, key), text in model.items() if of == kind
        ]


def test_a_replaced_record_keeps_its_place(path: Path) -> None:
    with SqliteStore(path) as store:
        for key in ("first", "second", "first"):
            store.put("note", key, Note(key, number=1.25))
    assert [note.key for note in notes(path)] == ["first", "second"]


def put_and_fail(store: SqliteStore) -> None:
    with store.transaction():
        with store.transaction():
            store.put("note", "1", Note("1"))
        raise LookupError


def test_an_inner_transaction_is_part_of_the_outer_one(path: Path) -> None:
    with SqliteStore(path) as store:
        with pytest.raises(LookupError):
            put_and_fail(store)
        with store.transaction():
            store.put("note", "2", Note("2"))
    assert [note.key for note in notes(path)] == ["2"]


def test_settings_are_still_there_after_a_clear(path: Path) -> None:
    with SqliteStore(path) as store:
        store.save_setting("starts", 1)
        store.save_setting("starts", 2)
        store.clear()
    with SqliteStore(path) as store:
        assert store.load_setting("starts", int) == 2
        assert store.load_setting("nothing", int) is None
        with pytest.raises(UsageError, match="its starts cannot be read"):
            store.load_setting("starts", str)


def test_threads_can_write_at_once(path: Path) -> None:
    def write(name: str) -> None:
        for number in range(50):
            with store.transaction():
                store.put("note", f"{name}{number}", Note(name))
                store.put("note", f"{name}{number}, too", Note(name))

    with SqliteStore(path) as store:
        threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
    assert len(notes(path)) == 400


def test_changes_after_close_are_ignored(path: Path) -> None:
    store = SqliteStore(path)
    store.close()
    store.close()
    with store.transaction():
        store.put("note", "late", Note("late"))
        store.save_setting("late", 1)
        store.delete("note", "late")
        store.clear()
    assert notes(path) == []


KILLED = f"""
import os, signal, sys, msgspec
from {SqliteStore.__module__} import SqliteStore

class Note(msgspec.Struct):
    key: str

store = SqliteStore(sys.argv[1])
for number in range(100):
    with store.transaction():
        store.put("note", str(number), Note(str(number)))
with store.transaction():
    store.put("note", "not committed", Note("not committed"))
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no SIGKILL")
def test_committed_records_are_still_there_after_a_kill(path: Path) -> None:
    assert subprocess.run([sys.executable, "-c", KILLED, str(path)], timeout=20).returncode < 0
    assert [note.key for note in notes(path)] == [str(number) for number in range(100)]


@pytest.mark.skipif(sys.platform == "win32", reason="has no permissions of this kind")
def test_no_other_user_can_read_the_secrets(path: Path) -> None:
    with SqliteStore(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_two_stores_cannot_use_one_file(path: Path) -> None:
    with SqliteStore(path), pytest.raises(UsageError, match="the file is in use") as caught:
        SqliteStore(path)
    assert "stop the other `engagelab-mock serve`" in str(caught.value)
    SqliteStore(path).close()


def foreign(path: Path) -> None:
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE users (id INTEGER)")
    other.close()


def newer(path: Path) -> None:
    SqliteStore(path).close()
    other = sqlite3.connect(path)
    other.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    other.close()


def truncated(path: Path) -> None:
    with SqliteStore(path) as store:
        for number in range(200):
            store.put("note", str(number), Note(str(number), "x" * 500))
    content = path.read_bytes()
    path.write_bytes(content[:100] + b"\x00" * (len(content) - 100))


UNUSABLE = {
    "text": (lambda path: path.write_text("no database, this one" * 100), "the file cannot be used as a store"),
    "foreign": (foreign, "a database of another program"),
    "newer": (newer, f"written by a newer version: its schema is {SCHEMA + 1}, this version reads up to {SCHEMA}"),
    "corrupt": (truncated, "the file cannot be used as a store"),
    "directory": (lambda path: path.mkdir(), "cannot be opened"),
    "nowhere": (lambda path: shutil.rmtree(path.parent), "cannot be opened: No such file"),
}


@pytest.mark.parametrize(("make", "what"), UNUSABLE.values(), ids=UNUSABLE)
def test_a_file_that_is_not_a_store_is_refused_and_unchanged(
    make: Callable[[Path], object], what: str, path: Path
) -> None:
    make(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(UsageError, match=what) as caught:
        SqliteStore(path)
    assert str(path) in str(caught.value)
    if before is not None:
        assert path.read_bytes() == before


def test_the_error_names_a_record_that_cannot_be_read(path: Path) -> None:
    class Other(msgspec.Struct):
        key: int

    with SqliteStore(path) as store:
        store.put("note", "7", Other(7))
        with pytest.raises(UsageError, match=r"its note '7' cannot be read: .* at `\$\.key`"):
            list(store.load("note", Note))
