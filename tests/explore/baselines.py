"""Explore a receiver, and see that an error of its use is in the journal."""

from __future__ import annotations

from typing import Any

import pytest

from engagelab_mock import EngageLab, EngageLabMockError, Receiver, UsageError


def explore(receiver: Receiver, **options: Any) -> Any:
    with EngageLab(receiver) as engagelab:
        try:
            return engagelab.explore("verified", **options)
        except EngageLabMockError as error:
            entered = [refusal.error for refusal in engagelab.journal.refusals]
            if isinstance(error, UsageError) and entered != [error]:
                pytest.fail(f"{error!r} is not in the journal")
            raise
