"""Explore in several processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from engagelab_mock import EngageLab, Exploration, Receiver, ScheduleFailed, UsageError
from engagelab_mock.explore.crash import can_fork
from tests.explore.books import Books
from tests.receivers.racing import Store, folder

#: How many workers must have the same result.
NUMBERS = (1, 2, 3)
forked = pytest.mark.skipif(not can_fork(), reason="this system cannot fork")


def explored(books: Books, *chosen: Any, **options: Any) -> Exploration:
    with EngageLab(books.receiver) as engagelab:
        return engagelab.explore(*(chosen or ("verified",)), **{"reset": books.reset, "workers": 2, **options})


def result(receiver: Receiver, *chosen: Any, **options: Any) -> object:
    """Return everything that an exploration says, or its error."""
    with EngageLab(receiver) as engagelab:
        try:
            found = engagelab.explore(*(chosen or ("verified",)), **options)
        except (ScheduleFailed, UsageError) as error:
            failure = getattr(error, "failure", None)
            return str(error), failure and (failure.found, failure.number, failure.total, failure.repeatable)
    return repr(found), found.merging and found.graph()


@contextmanager
def stores() -> Iterator[tuple[Store, Callable[[int], object]]]:
    """Open a store, with a function that gives a worker another one."""
    with TemporaryDirectory(dir=folder()) as name:
        store = Store(Path(name, "shop.sqlite"))

        def in_worker(number: int) -> None:
            store.path = str(Path(name, f"worker-{number}.sqlite"))
            Store(store.path)

        yield store, in_worker
