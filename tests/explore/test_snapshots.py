"""With `snapshot` and `restore`, equal beginnings of schedules are not played again, and the result is the same."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from engagelab_mock import (
    EngageLab,
    Exploration,
    ProbeFailed,
    ScheduleFailed,
    StatusEvent,
    UsageError,
    converges,
    django_savepoints,
    exactly_once,
    idempotent,
    never_regresses,
    sqlalchemy_savepoints,
    sqlite_snapshots,
)
from tests.explore.books import EVERYTHING, Books, LastWriteWins, NeverDedupes, in_memory
from tests.receivers.gallery.flask_stack import FlaskShop

ALL = [converges(), never_regresses("status"), exactly_once("credits"), idempotent()]


@pytest.mark.parametrize("merge", [True, False])
@pytest.mark.parametrize("resetting", [True, False])
def test_the_result_is_the_same_with_fewer_deliveries(merge: bool, resetting: bool) -> None:
    requests = []
    for snapshots in (False, True):
        books = Books()
        options: dict[str, Any] = {**in_memory(books)} if snapshots else {}
        if resetting or not snapshots:
            options["reset"] = books.reset
        with EngageLab(books.receiver) as engagelab:
            found = engagelab.explore("verified", invariants=ALL, merge=merge, **EVERYTHING, **options)
        assert (found.ok, found.schedules) == (True, 699)
        requests.append(books.requests)
    assert requests[1] < 0.8 * requests[0]


@pytest.mark.parametrize(
    ("kind", "minimal"), [(LastWriteWins, "eg1:verified,delivered"), (NeverDedupes, "eg1:verified!ackloss")]
)
def test_a_failure_is_the_same(kind: type[Books], minimal: str) -> None:
    found = []
    for snapshots in (False, True):
        books = kind()
        options: dict[str, Any] = {**in_memory(books)} if snapshots else {"reset": books.reset}
        with EngageLab(books.receiver) as engagelab, pytest.raises(ScheduleFailed) as caught:
            engagelab.explore("verified", invariants=ALL, **EVERYTHING, **options)
        failure = caught.value.failure
        assert failure.token == minimal
        found.append((failure.found, failure.number, str(caught.value).splitlines()[2:5]))
    assert found[0] == found[1]


class Refers(Books):
    """Make a new reference for each order."""

    def handle(self, book: dict[str, Any], row: StatusEvent) -> None:
        super().handle(book, row)
        book.setdefault("reference", uuid4().hex)


class RefersAndTakesTheLast(Refers, LastWriteWins):
    """Take the last status."""


@pytest.mark.parametrize("merge", [True, False])
@pytest.mark.parametrize("resetting", [True, False])
def test_values_that_differ_in_each_playing_are_not_compared(merge: bool, resetting: bool) -> None:
    """They are equal after `restore`, which must not be taken for a playing."""
    right, wrong = Refers(), RefersAndTakesTheLast()
    with EngageLab(right.receiver) as engagelab:
        reset: dict[str, Any] = {"reset": right.reset} if resetting else {}
        assert engagelab.explore("verified", invariants=ALL, merge=merge, **in_memory(right), **reset).ok
    with EngageLab(wrong.receiver) as engagelab, pytest.raises(ScheduleFailed, match="'delivered'") as caught:
        engagelab.explore("verified", invariants=[converges()], merge=merge, **in_memory(wrong))
    assert caught.value.failure.token == "eg1:verified,delivered"


@pytest.mark.parametrize("where", ["file", "memory"])
@pytest.mark.parametrize("resetting", [True, False])
def test_a_sqlite_database(where: str, resetting: bool, tmp_path: Path) -> None:
    path = tmp_path / "shop.sqlite"
    shop = FlaskShop(database=":memory:" if where == "memory" else str(path))
    options: dict[str, Any] = {"reset": shop.reset} if resetting else {}
    with EngageLab(shop.receiver) as engagelab:
        pair = sqlite_snapshots(shop.ledger._db if where == "memory" else path)
        found = engagelab.explore("delivered", invariants=ALL, duplicates=1, merge=True, **pair, **options)
    shop.close()
    assert (found.ok, found.schedules) == (True, 42)
    assert found.deliveries < 162


@pytest.fixture
def in_a_transaction() -> Iterator[Any]:
    """Open a Django shop and a transaction, as pytest-django's `db` does."""
    from tests.receivers.gallery.stacks import shop

    with shop("django") as opened:
        from django.db import transaction

        with transaction.atomic():
            yield opened
            transaction.set_rollback(True)


@pytest.mark.parametrize("resetting", [True, False])
def test_savepoints_of_django(resetting: bool, in_a_transaction: Any) -> None:
    opened = in_a_transaction
    options: dict[str, Any] = {"reset": opened.reset} if resetting else {}
    with EngageLab(opened.receiver) as engagelab:
        found = engagelab.explore(
            "delivered", invariants=ALL, duplicates=1, merge=True, **django_savepoints(), **options
        )
    assert (found.ok, found.schedules) == (True, 42)
    assert found.deliveries < 162


def test_savepoints_of_django_need_a_transaction() -> None:
    from tests.receivers.gallery.stacks import shop

    with (
        shop("django") as opened,
        EngageLab(opened.receiver) as engagelab,
        pytest.raises(UsageError, match="a savepoint needs an open transaction"),
    ):
        engagelab.explore("delivered", **django_savepoints())


def test_savepoints_of_sqlalchemy() -> None:
    """The statements run on an SQLite connection; SQLAlchemy passes them on as they are."""
    shop = FlaskShop()

    class Connection:
        def exec_driver_sql(self, statement: str) -> object:
            return shop.ledger._db.execute(statement)

    # The app's BEGIN and COMMIT would end the transaction that the savepoints are in.
    shop.ledger.transaction = Nothing  # type: ignore[method-assign, assignment]
    with EngageLab(shop.receiver) as engagelab:
        pair = sqlalchemy_savepoints(Connection())
        found = engagelab.explore("delivered", invariants=ALL, duplicates=1, merge=True, **pair)
    shop.close()
    assert (found.ok, found.schedules) == (True, 42)


class Nothing:
    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        pass


def test_a_restore_that_forgets_something_is_named() -> None:
    books = Books()
    with EngageLab(books.receiver) as engagelab, pytest.raises(ProbeFailed) as caught:
        engagelab.explore("verified", snapshot=dict, restore=lambda saved: None)
    assert caught.value.where == "restore"
    assert "when snapshot was called, and" in str(caught.value)


@pytest.mark.parametrize("name", ["snapshot", "restore"])
def test_a_function_that_raises_ends_the_run(name: str) -> None:
    def fails(*arguments: object) -> None:
        raise RuntimeError("the disk is full")

    books = Books()
    options: dict[str, Any] = {**in_memory(books), name: fails}
    with EngageLab(books.receiver) as engagelab, pytest.raises(ProbeFailed, match=f"{name}: it raised RuntimeError"):
        engagelab.explore("verified", **options)


def test_snapshots_can_be_asynchronous() -> None:
    books = Books()
    pair = in_memory(books)

    async def snapshot() -> Any:
        await asyncio.sleep(0)
        return pair["snapshot"]()

    async def restore(saved: Any) -> None:
        await asyncio.sleep(0)
        pair["restore"](saved)

    async def run() -> Exploration:
        with EngageLab(books.receiver) as engagelab:
            return await engagelab.aexplore("verified", invariants=ALL, snapshot=snapshot, restore=restore)

    assert asyncio.run(run()).ok
    with EngageLab(books.receiver) as engagelab, pytest.raises(UsageError, match="snapshot is asynchronous"):
        engagelab.explore("verified", snapshot=snapshot, restore=restore)
