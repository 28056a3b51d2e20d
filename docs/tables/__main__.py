"""Write the generated tables into the pages: `python docs/tables`. A test says when it was forgotten.

A table stands between `<!-- table: NAME -->` and `<!-- end of table -->`.
"""

from __future__ import annotations

import re
from pathlib import Path

import commands
import judges
import names
import stacks
import starters

import checks
import protocol

DOCS = Path(__file__).parents[1]
#: What makes each table.
TABLES = {
    name: make
    for module in (checks, commands, judges, names, protocol, stacks, starters)
    for name, make in module.TABLES.items()
}
_REGION = re.compile(r"(?<=<!-- table: )(?P<name>[\w-]+) -->\n.*?(?=\n<!-- end of table -->)", re.DOTALL)


def render(page: str) -> str:
    """Return a page's text with every table in it generated again."""
    return _REGION.sub(lambda region: f"{region['name']} -->\n\n{TABLES[region['name']]()}\n", page)


def pages() -> list[Path]:
    """Return the pages that hold tables."""
    return [page for page in sorted(DOCS.rglob("*.md")) if _REGION.search(page.read_text(encoding="utf-8"))]


if __name__ == "__main__":
    for path in pages():
        path.write_text(render(path.read_text(encoding="utf-8")), encoding="utf-8")
