"""Defaults < [tool.engagelab-mock] < environment < arguments."""

from __future__ import annotations

from pathlib import Path

import pytest

from engagelab_mock.config import SETTINGS
from tests.cli.conftest import Command, SdkApp


def sent_to(command: Command, *arguments: str) -> str:
    result = command("send", "plan,sent", *arguments, "--format", "json")
    return str(result.objects[-1]["to"])


def test_each_layer_overrides_the_one_before(
    command: Command, sdk_app: SdkApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = ("--url", sdk_app.url)
    assert sent_to(command, *url).startswith("+")

    (tmp_path / "pyproject.toml").write_text('[tool.engagelab-mock]\nto = "table@example.com"\n')
    assert sent_to(command, *url) == "table@example.com"

    monkeypatch.setenv("ENGAGELAB_MOCK_TO", "environment@example.com")
    assert sent_to(command, *url) == "environment@example.com"

    assert sent_to(command, *url, "--to", "argument@example.com") == "argument@example.com"


def test_everything_can_be_in_the_table(command: Command, sdk_app: SdkApp, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        f"""
        [tool.engagelab-mock]
        url = "{sdk_app.url}"
        username = "acme"
        secret = "s3cret"
        custom-arg = ["order=42"]
        speed = 1000
        seed = 7
        format = "json"
        """
    )

    result = command("send", "delivered")

    assert result.code == 0
    assert result.objects[-1]["seed"] == "7"
    assert sdk_app.events[0].custom_args == {"order": "42"}


def test_the_credentials_come_from_the_vendors_variables(
    command: Command, sdk_app: SdkApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENGAGELAB_WEBHOOK_USERNAME", "acme")
    monkeypatch.setenv("ENGAGELAB_WEBHOOK_SECRET", "s3cret")
    monkeypatch.setenv("ENGAGELAB_MOCK_URL", sdk_app.url)

    assert command("send", "verified").code == 0


def test_json_from_any_layer_applies_to_errors_too(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.engagelab-mock]\nformat = "json"\n')
    assert command("send", "verified").objects[0]["type"] == "error"
    assert command("send", "--nonsense").objects[0]["type"] == "error"
    assert command("send", "verified", "--format", "text").out == ""

    monkeypatch.setenv("ENGAGELAB_MOCK_FORMAT", "text")
    assert command("send", "verified").out == ""


def test_a_variable_that_cannot_be_used_is_named(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGAGELAB_MOCK_SPEED", "fast")

    result = command("demo")

    assert result.code == 2
    assert "ENGAGELAB_MOCK_SPEED" in result.err


def test_every_setting_is_an_option_whose_help_names_its_variable(command: Command) -> None:
    names = ("demo", "send", "serve", "listen", "record", "scenarios", "sign", "verify")
    shown = "".join(command(name, "--help").out for name in names)

    joined = "".join(shown.split())
    for name, setting in SETTINGS.items():
        assert f"--{name.replace('_', '-')}" in joined
        assert setting.environment in joined
