from __future__ import annotations

import re
from pathlib import Path
from typing import cast

import pytest

from engagelab_mock.config import SETTINGS, project_settings, read_file, read_settings
from engagelab_mock.errors import UnknownName, UsageError


def write(directory: Path, content: str) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "pyproject.toml"
    path.write_text(content, encoding="utf-8")
    return path


def test_the_nearest_file_upwards_is_read(tmp_path: Path) -> None:
    write(tmp_path, "[tool.engagelab-mock]\nseed = 1")
    inner = write(tmp_path / "project", "[tool.engagelab-mock]\nseed = 2").parent
    deep = inner / "tests" / "unit"
    deep.mkdir(parents=True)

    assert project_settings(deep) == {"seed": 2}
    assert project_settings(tmp_path) == {"seed": 1}


def test_a_nearer_file_without_the_table_hides_one_further_up(tmp_path: Path) -> None:
    write(tmp_path, "[tool.engagelab-mock]\nseed = 1")
    inner = write(tmp_path / "project", "[project]\nname = 'theirs'").parent

    assert project_settings(inner) == {}


def test_the_search_starts_in_the_current_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write(tmp_path / "here", "[tool.engagelab-mock]\nseed = 'x'").parent)

    assert project_settings() == {"seed": "x"}


def test_without_a_file_there_are_no_settings(tmp_path: Path) -> None:
    assert project_settings(tmp_path) == {}


def test_dashes_and_underscores_are_the_same(tmp_path: Path) -> None:
    dashed = write(tmp_path / "a", "[tool.engagelab-mock]\ncustom-arg = ['a=b']")
    underscored = write(tmp_path / "b", "[tool.engagelab-mock]\ncustom_arg = ['a=b']")

    assert read_settings(dashed) == read_settings(underscored) == {"custom_arg": ["a=b"]}


def test_a_path_is_relative_to_the_file_that_has_it(tmp_path: Path) -> None:
    relative = write(tmp_path / "a", "[tool.engagelab-mock]\nca = 'certificates/ca.pem'")
    absolute = write(tmp_path / "b", "[tool.engagelab-mock]\nca = '/etc/ca.pem'")

    assert read_settings(relative) == {"ca": str(tmp_path / "a" / "certificates" / "ca.pem")}
    assert read_settings(absolute) == {"ca": "/etc/ca.pem"}


def test_an_unknown_key_gets_the_nearest_as_a_hint(tmp_path: Path) -> None:
    path = write(tmp_path, "[tool.engagelab-mock]\nusrname = 'acme'")

    with pytest.raises(UnknownName) as caught:
        read_settings(path)

    assert (caught.value.where, caught.value.name) == (f"{path}: [tool.engagelab-mock]", "usrname")
    assert "did you mean 'username'?" in caught.value.hint


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("url = 5000", "url: the value is an integer, not a string"),
        ("port = '5000'", "port: the value is a string, not an integer"),
        ("port = true", "port: the value is true or false, not an integer"),
        ("speed = 'fast'", "speed: the value is a string, not a number"),
        ("insecure = 1", "insecure: the value is an integer, not true or false"),
        ("custom-arg = ['a=b', 1]", "custom-arg: the value is a list, not a list of strings"),
        ("seed = 1.5", "seed: the value is a number, not a string or an integer"),
        ("timeout = 2023-03-07", "timeout: the value is date, not a number"),
    ],
)
def test_a_value_of_the_wrong_type_is_named(tmp_path: Path, line: str, complaint: str) -> None:
    path = write(tmp_path, f"[tool.engagelab-mock]\n{line}")

    with pytest.raises(UsageError) as caught:
        read_settings(path)

    assert complaint in str(caught.value)


def test_a_secret_is_not_shown_even_when_wrong(tmp_path: Path) -> None:
    path = write(tmp_path, "[tool.engagelab-mock]\nsecret = 31337")

    with pytest.raises(UsageError) as caught:
        read_settings(path)

    assert "31337" not in str(caught.value)


def test_a_file_of_an_editor_on_windows_is_read(tmp_path: Path) -> None:
    path = tmp_path / "pyproject.toml"
    path.write_bytes(b"\xef\xbb\xbf[tool.engagelab-mock]\r\nseed = 7\r\n")

    assert read_settings(path) == {"seed": 7}


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"[tool.engagelab-mock\n", "this is not TOML"),
        (b"[tool.engagelab-mock]\nurl = '\xff'", "the file is not UTF-8"),
        ("[tool.engagelab-mock]".encode("utf-16"), "the file is not UTF-8"),
        (b"tool = 1", "tool.engagelab-mock is not a table"),
        (b"[[tool.engagelab-mock]]\nseed = 1", "tool.engagelab-mock is not a table"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = tmp_path / "pyproject.toml"
    path.write_bytes(content)

    with pytest.raises(UsageError, match=complaint) as caught:
        project_settings(tmp_path)

    assert caught.value.where == str(path)
    assert caught.value.hint


def test_the_variables_are_ours_except_the_vendors_four() -> None:
    environments = {name: setting.environment for name, setting in SETTINGS.items()}

    assert environments.pop("username") == "ENGAGELAB_WEBHOOK_USERNAME"
    assert environments.pop("secret") == "ENGAGELAB_WEBHOOK_SECRET"
    assert environments.pop("dev_key") == "ENGAGELAB_DEV_KEY"
    assert environments.pop("dev_secret") == "ENGAGELAB_DEV_SECRET"
    assert all(environment == f"ENGAGELAB_MOCK_{name.upper()}" for name, environment in environments.items())


RECEIVERS = """
[[tool.engagelab-mock.receivers]]
url = "http://127.0.0.1:5000/engagelab"
username = "acme"
secret = "s3cret"
events = ["status"]
ca = "ca.pem"

[[tool.engagelab-mock.receivers]]
url = "http://127.0.0.1:5001/engagelab"
"""


def test_receivers_are_tables(tmp_path: Path) -> None:
    first, second = cast("list[dict[str, object]]", read_settings(write(tmp_path, RECEIVERS))["receivers"])

    assert first == {
        "url": "http://127.0.0.1:5000/engagelab",
        "username": "acme",
        "secret": "s3cret",
        "events": ["status"],
        "ca": str(tmp_path / "ca.pem"),
    }
    assert second == {"url": "http://127.0.0.1:5001/engagelab"}


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ('receivers = "http://127.0.0.1"', "receivers: receivers must be an array of tables"),
        ("receivers = [1]", "receivers: receivers must be an array of tables"),
        ('[[receivers]]\nurl = "http://a"\n[[receivers]]\nurll = "http://b"', "number 2: unknown key 'urll'"),
        ('[[receivers]]\nusername = "acme"', "number 1: url is missing"),
        ("[[receivers]]\nurl = 5000", "number 1, url: the value is an integer, not a string"),
        ('recievers = "http://127.0.0.1"', "did you mean 'receivers'"),
    ],
)
def test_receivers_that_cannot_be_used_are_named(tmp_path: Path, content: str, what: str) -> None:
    path = tmp_path / "serve.toml"
    path.write_text(content)

    with pytest.raises(UsageError, match=re.escape(what)) as caught:
        read_file(path)
    assert str(path) in str(caught.value)


def test_a_config_file_has_the_keys_at_its_top_level_or_in_the_table(tmp_path: Path) -> None:
    path = tmp_path / "serve.toml"
    path.write_text("port = 8080\ndb = 'mock.sqlite'")
    assert read_file(path) == {"port": 8080, "db": str(tmp_path / "mock.sqlite")}
    assert read_file(write(tmp_path, "[tool.engagelab-mock]\nport = 8081\n[tool.other]\nx = 1")) == {"port": 8081}
