"""Explorations of races and crashes that fail, or that are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engagelab_mock import EngageLab, Receiver, ScheduleFailed


def failure(receiver: Receiver, *chosen: Any, **options: Any) -> ScheduleFailed:
    """Explore races, or with other options crashes, and return the failure."""
    with EngageLab(receiver) as engagelab, pytest.raises(ScheduleFailed) as caught:
        engagelab.explore(*(chosen or ("verified",)), **_with_races(options))
    visible = [entry.path for entry in caught.traceback.filter(caught)]
    assert visible[-1] == Path(__file__)
    return caught.value


def refused(receiver: Receiver, kind: type[Exception], match: str, **options: Any) -> None:
    with EngageLab(receiver) as engagelab, pytest.raises(kind, match=match):
        engagelab.explore("plan-sent", **_with_races(options))


def _with_races(options: dict[str, Any]) -> dict[str, Any]:
    return options if "crashes" in options else {"concurrent": 2, **options}
