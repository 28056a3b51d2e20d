from __future__ import annotations

import pytest

from engagelab_mock import CATALOGUE
from tests.cli.conftest import Command


def test_json_lists_each_with_its_transitions(command: Command) -> None:
    result = command("scenarios", "--format", "json")

    assert result.code == 0
    assert [one["name"] for one in result.objects] == list(CATALOGUE)
    fallback = next(one for one in result.objects if one["name"] == "fallback")
    assert fallback["statuses"] == ["plan", "sent", "delivered_failed", "sent", "delivered", "verified"]
    assert fallback["delays"] == [0, 0, 8, 2, 5, 15]
    assert fallback["channels"] == [None, "whatsapp", "whatsapp", "sms", "sms", None]
    assert fallback["error_codes"][2] == 5012
    assert fallback["description"] == CATALOGUE["fallback"].description


def test_text_has_a_paragraph_for_each(command: Command) -> None:
    result = command("scenarios")

    assert result.code == 0
    assert "plan → +2 sent → +3 delivered → +15 verified" in result.out
    for scenario in CATALOGUE.values():
        assert f"\n{scenario.name}\n  {scenario.description}\n  " in result.out


def test_lines_have_no_blanks_at_their_ends(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(line == line.rstrip() for line in command("scenarios").out.splitlines())
    monkeypatch.setenv("COLUMNS", "60")
    assert all(line == line.rstrip() for line in command("scenarios").out.splitlines())


def test_it_fits_a_narrow_terminal(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    lines = command("scenarios").out.splitlines()

    assert max(map(len, lines)) <= 60
    where = lines.index("fallback")
    assert lines[where + 3 : where + 5] == [
        "  plan → sent whatsapp → +8 delivered_failed whatsapp →",
        "    +2 sent sms → +5 delivered sms → +15 verified",
    ]
