"""The graph of the states that an exploration saw, as text."""

from __future__ import annotations

import re

import pytest

from engagelab_mock import EngageLab, Receiver, UsageError, never_regresses
from engagelab_mock.explore import graph as graph_module
from tests.explore.books import ALL, Books, LastWriteWins, NeverDedupes
from tests.explore.merging import explore


def test_the_graph_as_text() -> None:
    found = explore(LastWriteWins(), "sent_failed", invariants=[never_regresses()], duplicates=0, check=False)
    assert found.graph() == found.graph("mermaid")
    found = explore(LastWriteWins(), "plan-sent", invariants=[never_regresses("status")], duplicates=0, check=False)
    state = "{'status': '%s', 'credits': 0}"
    names = [(0, "None"), (1, state % "plan"), (2, state % "sent"), (3, state % "sent"), (4, state % "plan")]
    assert found.graph("mermaid").splitlines() == [
        "flowchart TD",
        *[f'  s{place}["{text}"]' for place, text in names],
        '  s0 -->|"plan"| s1',
        '  s1 -->|"sent"| s2',
        '  s0 ==>|"sent"| s3',
        '  s3 ==>|"plan"| s4',
        "  linkStyle 3 stroke:#c62828",
        "  style s2 stroke:#c62828",
        "  style s4 stroke:#c62828",
    ]
    dot = found.graph("dot").splitlines()
    assert dot[0] == "digraph states {"
    assert '  s3 -> s4 [label="plan", color="#c62828", style=bold, penwidth=3];' in dot
    assert "  { rank=same; s1; s3; }" in dot


def test_the_path_of_a_failure_with_a_retry_is_drawn() -> None:
    books = NeverDedupes()
    receiver = Receiver.wsgi(books, observe=books.kept.get)
    with EngageLab(receiver) as engagelab:
        found = engagelab.explore(
            "verified", faults="at-least-once", reset=books.reset, invariants=ALL, duplicates=0, merge=True, check=False
        )
    assert found.failures[0].token == "eg1:verified!ackloss"
    lines = found.graph("dot").splitlines()
    [first, again] = [line for line in lines if "style=bold" in line]
    assert "verified!ackloss" in first
    assert 'label="verified again", style=bold' in again


def test_a_large_graph_is_drawn_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_module, "_MOST", 5)
    found = explore(Books(), "delivered", invariants=ALL)
    for form, mark in {"dot": "//", "mermaid": "%%"}.items():
        lines = found.graph(form).splitlines()  # type: ignore[arg-type]  # one of the two
        assert len([line for line in lines if "->" in line or "-->" in line]) == 5
        assert lines[-1] == f"{mark} only the first 5 edges are drawn"


def test_without_merging_the_graph_has_the_schedules_that_were_played() -> None:
    merged, played = [explore(LastWriteWins(), duplicates=0, check=False, merge=merge) for merge in (True, False)]
    for found in (merged, played):
        found.failures.clear()
    # The schedules are played in another order, so the states have other numbers.
    drawn = [sorted(re.sub(r"s[0-9]+", "s", found.graph("dot")).splitlines()) for found in (merged, played)]
    assert [line for line in drawn[0] if "rank" not in line] == [line for line in drawn[1] if "rank" not in line]


def test_there_is_no_graph_if_no_state_was_seen() -> None:
    with EngageLab(Receiver.wsgi(Books())) as engagelab:
        found = engagelab.explore("verified", duplicates=0)
    with pytest.raises(UsageError, match="this receiver has no observe"):
        found.graph()
    with pytest.raises(UsageError, match="did you mean 'mermaid'"):
        explore(Books(), duplicates=0).graph("mermiad")  # type: ignore[arg-type]  # what is tested
