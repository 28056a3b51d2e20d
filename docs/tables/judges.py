"""The cases in which no judge may be green, and the receivers that none may report; they come from the tests."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from cells import table

# Where the tests are.
sys.path.insert(0, str(Path(__file__).parents[2]))


def truth_blind() -> str:
    from tests.truth.blind import CASES

    rows = ([case.judge, case.what, f"`{case.error.__name__}`: {case.says}"] for case in CASES)
    return table(["judge", "situation", "the error says"], rows)


def truth_right() -> str:
    from tests.truth.receivers.pairs import PAIRS

    rows = ([name, pair.right.__doc__ or "", pair.wrong.__doc__ or ""] for name, pair in PAIRS.items())
    return table(["built on", "the right receiver, which nothing reports", "its mutant, which is found"], rows)


TABLES: dict[str, Callable[[], str]] = {
    "truth-blind": truth_blind,
    "truth-right": truth_right,
}
