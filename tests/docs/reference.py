"""The sections of the reference, and the fields that they list."""

from __future__ import annotations

import re

from tests.docs.pages import PAGES


def reference(name: str) -> str:
    return PAGES[f"docs/reference/{name}"]


def section(text: str, heading: str) -> str:
    """Return what stands under a heading, up to the next of its rank or above."""
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    assert found, f"no section {heading!r}"
    return found[1]


def missing(names: list[str], text: str) -> list[str]:
    """Return the names that do not stand in a text between backticks."""
    return [name for name in names if f"`{name}`" not in text]


def check_fields(command: str, printed: dict[str, object]) -> None:
    """Compare an object's fields with what its command's section says, in a table or in a sentence."""
    kind = printed.pop("type", None)
    text = section(reference("cli"), "Errors" if kind == "error" else command)
    row = re.search(rf"^\| `{kind}`[^|]*\| (.+) \|$", text, re.MULTILINE)
    if row:
        assert re.findall(r"`(\w+)`", row[1]) == list(printed)
    else:
        assert missing(list(printed), text) == []
