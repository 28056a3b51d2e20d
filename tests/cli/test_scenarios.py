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


def test_text_is_a_table(command: Command) -> None:
    result = command("scenarios")

    assert result.code == 0
    assert "plan → +2 sent → +3 delivered → +15 verified" in result.out
    for scenario in CATALOGUE.values():
        assert scenario.name in result.out
        assert scenario.description in result.out


def test_it_fits_a_narrow_terminal(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")

    assert max(map(len, command("scenarios").out.splitlines())) <= 60
