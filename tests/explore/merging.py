"""Explore with equal states merged."""

from __future__ import annotations

from typing import Any

from engagelab_mock import EngageLab, Exploration, Receiver, converges, exactly_once, idempotent, never_regresses
from tests.explore.books import Books

ALL = [converges(), never_regresses(), exactly_once("credits"), idempotent()]
EVERYTHING: dict[str, Any] = {"duplicates": 1, "batchings": True, "faults": "at-least-once"}


def explore(books: Books, *chosen: Any, observe: Any = None, **options: Any) -> Exploration:
    receiver = Receiver.wsgi(books, observe=observe or books.kept.get)
    with EngageLab(receiver) as engagelab:
        return engagelab.explore(*(chosen or ["verified"]), **{"reset": books.reset, "merge": True, **options})
