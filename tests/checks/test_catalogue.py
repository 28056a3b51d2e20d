from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from engagelab_mock import CHECKS, UnknownName, UsageError
from engagelab_mock.checks import causes, health
from engagelab_mock.checks.catalogue import Selection
from engagelab_mock.checks.check import Cause, Fix


def run_by(**given: Any) -> list[str]:
    selection = Selection(**given)
    return [check.id for check in CHECKS.values() if not selection.leaves_out(check)]


def test_all_checks_run_at_depth_deep_and_by_default_those_that_do_not_take_long() -> None:
    assert run_by(depth="deep") == list(CHECKS)
    assert run_by() == [id for id, check in CHECKS.items() if not check.deep]


def test_a_check_that_takes_long_runs_if_it_is_named() -> None:
    assert run_by(only=["C18"]) == run_by(only=["many-messages"]) == ["C18"]
    assert "C18" not in run_by(only=["C*"])
    assert "C18" in run_by(only=["C*"], depth="deep")


def test_an_unknown_depth_gets_a_suggestion() -> None:
    with pytest.raises(UnknownName, match="did you mean 'deep'"):
        Selection(depth="dep")


@pytest.mark.parametrize(
    ("only", "ids"),
    [
        (["B04"], ["B04"]),
        (["b04"], ["B04"]),
        (["sig-nonascii"], ["B04"]),
        (["A*"], [id for id in CHECKS if id.startswith("A")]),
        (["bigi*"], ["D14"]),
        (["ping-*"], ["A01", "A02", "A03"]),
        (["A0?"], [f"A0{number}" for number in range(1, 10)]),
    ],
)
def test_only_takes_ids_and_names(only: list[str], ids: list[str]) -> None:
    assert run_by(only=only) == ids


def test_skip_overrides_only() -> None:
    assert run_by(only=["ping-*"], skip=["A02"]) == ["A01", "A03"]


def test_severity_is_the_least_that_is_run() -> None:
    assert {str(CHECKS[id].severity) for id in run_by(severity="major")} == {"blocker", "major"}


@pytest.mark.parametrize("where", ["only", "skip"])
def test_an_unknown_check_gets_a_suggestion(where: str) -> None:
    with pytest.raises(UnknownName, match="did you mean 'sig-prefix'") as caught:
        Selection(only=["sig-prefx"]) if where == "only" else Selection(skip=["sig-prefx"])
    assert (caught.value.where, caught.value.noun) == (where, "check")


def test_an_unknown_severity_gets_a_suggestion() -> None:
    with pytest.raises(UnknownName, match="did you mean 'blocker'"):
        Selection(severity="bloker")


def test_a_suppression_has_a_reason_and_a_check() -> None:
    assert Selection(suppress={"replay-*": "mutual TLS"}).suppress == dict.fromkeys(["B16", "B17", "B26"], "mutual TLS")
    with pytest.raises(UsageError, match="B17 is suppressed without a reason"):
        Selection(suppress={"B17": " "})
    with pytest.raises(UnknownName, match="B17"):
        Selection(suppress={"B177": "mutual TLS"})


def fixes() -> Iterator[tuple[str, Fix]]:
    """Yield the fix of each check, and those of likely causes."""
    yield from ((each.id, each.fix) for each in CHECKS.values())
    found = [each for module in (causes, health) for each in vars(module).values() if isinstance(each, (Cause, Fix))]
    found += causes._CAUSES.values()
    yield from ((str(each)[:60], each.fix if isinstance(each, Cause) else each) for each in found)


def test_every_fix_is_python_in_every_framework() -> None:
    for name, fix in fixes():
        for code in (fix.flask, fix.django, fix.fastapi):
            indented = "\n".join(f"    {line}" for line in code.splitlines() or ["pass"])
            compile(f"async def view(request):\n{indented}\n", name, "exec")
            assert "$" not in code.replace('?$"', "")
        assert fix.text.endswith(".")


def test_every_check_has_complete_texts() -> None:
    assert list(CHECKS) == sorted(CHECKS)
    assert len({each.name for each in CHECKS.values()}) == len(CHECKS)
    for each in CHECKS.values():
        assert not each.title[0].islower()
        assert not each.title.endswith(".")
        for text in (each.why, each.stimulus, each.expected, each.fix.text):
            assert text.endswith((".", ".)"))
        assert set(each.source) <= set("SDKXCP? ")


@pytest.mark.parametrize(
    ("given", "where"),
    [
        ({"only": ["A01"], "skip": ["A01"]}, "only"),
        ({"only": ["A*"], "skip": ["*-json", "A*"]}, "only"),
        ({"only": ["A07"], "severity": "blocker"}, "only"),
        ({"skip": ["*"]}, "skip"),
    ],
)
def test_a_selection_of_nothing_is_refused(given: dict[str, Any], where: str) -> None:
    with pytest.raises(UsageError, match="no check is left") as caught:
        Selection(**given)
    assert caught.value.where == where


def test_one_check_is_enough() -> None:
    selection = Selection(only=["A*"], skip=["A01", "A02", "A04", "A05", "A06", "A07", "A08", "A09", "A1*"])
    assert [id for id, check in CHECKS.items() if not selection.leaves_out(check)] == ["A03"]
