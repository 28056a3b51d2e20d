"""Where a command's settings come from: defaults < `[tool.engagelab-mock]` < environment < arguments.

This module knows the names and reads the table; the command line lays the layers over each other. The engine reads
neither: it is told everything by its arguments.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from engagelab_mock.errors import UnknownName, UsageError

#: The table's name in pyproject.toml, and the file's.
TABLE = "tool.engagelab-mock"
FILE = "pyproject.toml"


class Setting(NamedTuple):
    """Describe one setting: what its value is in the table, and the environment variable that goes over it.

    >>> SETTINGS["seed"].environment
    'ENGAGELAB_MOCK_SEED'
    """

    kind: str
    environment: str


#: The types that TOML gives a value of each kind.
_TYPES: Mapping[str, tuple[type, ...]] = {
    "a string": (str,),
    "a path": (str,),
    "a string or an integer": (str, int),
    "an integer": (int,),
    "a number": (int, float),
    "true or false": (bool,),
    "a list of strings": (list,),
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
    "a string": "url authorization to template channel dialect format host forward pseudonym_key",
    "a path": "ca",
    "a string or an integer": "seed",
    "an integer": "port answer",
    "a number": "speed timeout tolerance",
    "true or false": "insecure validate",
    "a list of strings": "custom_arg",
}

#: Every setting by name. The vendor has names of its own for two variables; they are kept.
SETTINGS: Mapping[str, Setting] = {
    "username": Setting("a string", "ENGAGELAB_WEBHOOK_USERNAME"),
    "secret": Setting("a string", "ENGAGELAB_WEBHOOK_SECRET"),
} | {name: Setting(kind, f"ENGAGELAB_MOCK_{name.upper()}") for kind, names in _KINDS.items() for name in names.split()}


def project_settings(start: Path | None = None) -> dict[str, object]:
    """Return what the nearest pyproject.toml says, looking upwards from `start`, by default the current directory.

    Raises `UsageError` naming the file and the key for what cannot be used.

    >>> project_settings(Path("/"))
    {}
    """
    directory = (Path.cwd() if start is None else start).absolute()
    for candidate in (directory, *directory.parents):
        if (candidate / FILE).is_file():
            return read_settings(candidate / FILE)
    return {}


def read_settings(path: Path) -> dict[str, object]:
    """Return the settings in one pyproject.toml, checked and by the names used in `SETTINGS`."""
    table = _table(path)
    where = f"{path}: [{TABLE}]"
    settings: dict[str, object] = {}
    for key, value in table.items():
        name = key.replace("-", "_")
        if name not in SETTINGS:
            raise UnknownName("key", key, SETTINGS, where=where)
        settings[name] = _checked(value, SETTINGS[name].kind, where=f"{where} {key}", base=path.parent)
    return settings


def _table(path: Path) -> dict[str, object]:
    try:
        document: object = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"this is not TOML: {error}", where=str(path), hint="correct the file") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(f"the file cannot be read: {reason}", where=str(path), hint="check its permissions") from error
    for part in TABLE.split("."):
        document = document.get(part, {}) if isinstance(document, dict) else document
    if not isinstance(document, dict):
        raise UsageError(f"{TABLE} is not a table", where=str(path), hint=f"write it as [{TABLE}], one key a line")
    return document


def _checked(value: object, kind: str, *, where: str, base: Path) -> object:
    # By exact type: for Python true is an integer too.
    fits = type(value) in _TYPES[kind]
    if fits and isinstance(value, list):
        fits = all(isinstance(item, str) for item in value)
    if not fits:
        # The value itself is not shown: it may be a secret.
        raise UsageError(f"the value is {_TOML_NAMES.get(type(value), type(value).__name__)}, not {kind}", where=where)
    # A path stands beside the file that names it, whatever directory the command runs in.
    return str(base / str(value)) if kind == "a path" else value
