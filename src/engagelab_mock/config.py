"""The settings of the command line: defaults < `[tool.engagelab-mock]` < environment < arguments.

This module has the names, and reads the table. The command line combines all four. The engine reads no settings: it
gets everything as arguments.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from engagelab_mock.errors import UnknownName, UsageError

#: The table's name in pyproject.toml, and the file's.
TABLE = "tool.engagelab-mock"
FILE = "pyproject.toml"


class Setting(NamedTuple):
    """Describe one setting: the kind of its value in the table, and the environment variable that overrides it.

    >>> SETTINGS["seed"].environment
    'ENGAGELAB_MOCK_SEED'
    """

    kind: str
    environment: str


#: The kind of a table of reasons by check id.
_REASONS = "a table of strings"

#: The Python types of each kind of value, as TOML gives them.
_TYPES: Mapping[str, tuple[type, ...]] = {
    "a string": (str,),
    "a path": (str,),
    "a string or an integer": (str, int),
    "an integer": (int,),
    "a number": (int, float),
    "true or false": (bool,),
    "a list of strings": (list,),
    _REASONS: (dict,),
}

_TOML_NAMES = {
    str: "a string",
    int: "an integer",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "a table",
}

_KINDS = {
    "a string": "url authorization to template channel dialect format host callback_url retry token forward"
    " pseudonym_key",
    "a path": "ca db",
    "a string or an integer": "seed",
    "an integer": "port answer keep pending",
    "a number": "speed timeout tolerance",
    "true or false": "insecure validate strict_templates strict_content_type callback_before_response",
    "a list of strings": "custom_arg allow_host",
}

#: Every setting by name. Four variables have the vendor's names.
SETTINGS: Mapping[str, Setting] = {
    "username": Setting("a string", "ENGAGELAB_WEBHOOK_USERNAME"),
    "secret": Setting("a string", "ENGAGELAB_WEBHOOK_SECRET"),
    "dev_key": Setting("a string", "ENGAGELAB_DEV_KEY"),
    "dev_secret": Setting("a string", "ENGAGELAB_DEV_SECRET"),
} | {name: Setting(kind, f"ENGAGELAB_MOCK_{name.upper()}") for kind, names in _KINDS.items() for name in names.split()}

#: The array of tables that lists receivers, and the keys of each table; "url" is required.
RECEIVERS = "receivers"
RECEIVER_KEYS: Mapping[str, str] = {
    "url": "a string",
    "description": "a string",
    "username": "a string",
    "secret": "a string",
    "authorization": "a string",
    "events": "a list of strings",
    "timeout": "a number",
    "insecure": "true or false",
    "ca": "a path",
}

_CHECK_KINDS = {
    "a string": "severity depth fail_on observe observe_command observe_account restart_command",
    "a number": "wait total patience",
    "a list of strings": "only skip terminal language",
    _REASONS: "suppress effect",
}

#: The settings of `engagelab-mock check`, which are in the table `[tool.engagelab-mock.check]`.
CHECK_SETTINGS: Mapping[str, Setting] = {
    name: Setting(kind, f"ENGAGELAB_MOCK_CHECK_{name.upper()}")
    for kind, names in _CHECK_KINDS.items()
    for name in names.split()
}


def project_settings(start: Path | None = None) -> dict[str, object]:
    """Return the settings in the nearest pyproject.toml, in `start` (default: the current directory) or above it.

    Raises `UsageError` with the file and the key if a setting cannot be used.

    >>> project_settings(Path("/"))
    {}
    """
    path = _nearest(start)
    return {} if path is None else read_settings(path)


def check_settings(start: Path | None = None) -> dict[str, object]:
    """Return the settings in `[tool.engagelab-mock.check]` of the nearest pyproject.toml.

    >>> check_settings(Path("/"))
    {}
    """
    path = _nearest(start)
    return {} if path is None else read_check_settings(path)


def _nearest(start: Path | None) -> Path | None:
    directory = (Path.cwd() if start is None else start).absolute()
    return next((place / FILE for place in (directory, *directory.parents) if (place / FILE).is_file()), None)


def read_settings(path: Path) -> dict[str, object]:
    """Return the settings in one pyproject.toml, checked, by the names in `SETTINGS`."""
    document = _document(path)
    return _settings(_without_check(_table(document, path, TABLE)), path, where=f"{path}: [{TABLE}]")


def read_check_settings(path: Path) -> dict[str, object]:
    """Return the settings of `check` in one pyproject.toml, by the names in `CHECK_SETTINGS`."""
    table = f"{TABLE}.check"
    return _known(_table(_document(path), path, table), CHECK_SETTINGS, path, where=f"{path}: [{table}]")


def read_file(path: Path) -> dict[str, object]:
    """Return the settings in a file for `--config`: at its top level, or in `[tool.engagelab-mock]`."""
    document = _document(path)
    if "tool" in document:
        return read_settings(path)
    return _settings(_without_check(document), path, where=str(path))


def _without_check(table: Mapping[str, object]) -> dict[str, object]:
    """Return a table without its key `check`."""
    return {key: value for key, value in table.items() if key != "check"}


def _settings(table: Mapping[str, object], path: Path, *, where: str) -> dict[str, object]:
    single = {key: value for key, value in table.items() if key != RECEIVERS}
    settings = _known(single, SETTINGS, path, where=where, others=[RECEIVERS])
    if RECEIVERS in table:
        settings[RECEIVERS] = _receivers(table[RECEIVERS], path, where=where)
    return settings


def _known(
    table: Mapping[str, object], known: Mapping[str, Setting], path: Path, *, where: str, others: Sequence[str] = ()
) -> dict[str, object]:
    settings: dict[str, object] = {}
    for key, value in table.items():
        name = key.replace("-", "_")
        if name not in known:
            raise UnknownName("key", key, [*known, *others], where=where)
        settings[name] = _checked(value, known[name].kind, where=f"{where} {key}", base=path.parent)
    return settings


def _receivers(value: object, path: Path, *, where: str) -> list[dict[str, object]]:
    """Return the tables of receivers, checked."""
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        hint = f"write each receiver as [[{TABLE}.{RECEIVERS}]], with one key on each line"
        raise UsageError("receivers must be an array of tables", where=f"{where} {RECEIVERS}", hint=hint)
    receivers = []
    for number, table in enumerate(value, 1):
        place = f"{where} {RECEIVERS}, number {number}"
        for key in table:
            if key not in RECEIVER_KEYS:
                raise UnknownName("key", key, RECEIVER_KEYS, where=place)
        if "url" not in table:
            raise UsageError("url is missing", where=place, hint='url = "http://127.0.0.1:5000/engagelab"')
        receivers.append(
            {
                key: _checked(given, RECEIVER_KEYS[key], where=f"{place}, {key}", base=path.parent)
                for key, given in table.items()
            }
        )
    return receivers


def _document(path: Path) -> dict[str, object]:
    try:
        # Editors on Windows begin a file with a byte order mark.
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        raise UsageError(f"the file is not UTF-8: {error}", where=str(path), hint="save it as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"this is not TOML: {error}", where=str(path), hint="correct the file") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(f"the file cannot be read: {reason}", where=str(path), hint="check its permissions") from error


def _table(whole: dict[str, object], path: Path, table: str) -> dict[str, object]:
    document: object = whole
    for part in table.split("."):
        document = document.get(part, {}) if isinstance(document, dict) else document
    if not isinstance(document, dict):
        hint = f"write it as [{table}], with one key on each line"
        raise UsageError(f"{table} is not a table", where=str(path), hint=hint)
    return document


def _checked(value: object, kind: str, *, where: str, base: Path) -> object:
    # By exact type: in Python, true is also an integer.
    fits = type(value) in _TYPES[kind]
    if fits and isinstance(value, list):
        fits = all(isinstance(item, str) for item in value)
    if fits and isinstance(value, dict):
        fits = all(isinstance(item, str) for item in value.values())
    if not fits:
        # The value is not shown, as it may be a secret.
        raise UsageError(f"the value is {_TOML_NAMES.get(type(value), type(value).__name__)}, not {kind}", where=where)
    # A path is relative to the directory of the file, not to the current directory.
    return str(base / str(value)) if kind == "a path" else value
