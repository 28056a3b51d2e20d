"""The index of the public names, from the pages that document them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path

from cells import table

import engagelab_mock

DOCS = Path(__file__).parents[1]


def names() -> str:
    """Return a table for each page under `reference/api`: the names that it documents, in its order."""
    index = (DOCS / "reference" / "api.md").read_text(encoding="utf-8")
    sections = []
    for page in re.findall(r"^api/(\w+)$", index, re.MULTILINE):
        text = (DOCS / "reference" / "api" / f"{page}.md").read_text(encoding="utf-8")
        rows = []
        for kind, name, comment in _DOCUMENTED.findall(text):
            summary = comment if kind == "py:data" else inspect.getdoc(getattr(engagelab_mock, name)) or ""
            rows.append([f"[`{name}`](api/{page}.md)", _first_sentence(summary)])
        title = text.partition("\n")[0].removeprefix("# ")
        sections.append(f"## {title}\n\n{table(['name', 'purpose'], rows)}")
    return "\n\n".join(sections)


_DOCUMENTED = re.compile(
    r"^\.\. (autoclass|autofunction|py:data):: (\w+)(?:\(.*\))?$(?:\n   :type: .*)?(?:\n\n   (.+(?:\n   .+)*))?",
    re.MULTILINE,
)


def _first_sentence(text: str) -> str:
    paragraph = " ".join(text.partition("\n\n")[0].split())
    return re.split(r"(?<=[.:]) (?=[A-Z])", paragraph)[0]


TABLES: dict[str, Callable[[], str]] = {
    "names": names,
}
