"""Explore with equal states merged."""

from __future__ import annotations

from typing import Any

from engagelab_mock import EngageLab, Exploration, Receiver
from tests.explore.books import Books


def explore(books: Books, *chosen: Any, observe: Any = None, **options: Any) -> Exploration:
    receiver = Receiver.wsgi(books, observe=observe or books.kept.get)
    with EngageLab(receiver) as engagelab:
        return engagelab.explore(*(chosen or ["verified"]), **{"reset": books.reset, "merge": True, **options})
