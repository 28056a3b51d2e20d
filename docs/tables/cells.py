"""The parts of the tables: Markdown, and texts from the code."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence


def sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def yes(flag: bool) -> str:
    return "yes" if flag else ""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def comments(kind: type) -> dict[str, str]:
    """Return the comment above each member of an enumeration, which Python itself throws away."""
    return {name: text for text, name in re.findall(r"#: (.+)\n +([A-Z0-9_]+) =", inspect.getsource(kind))}
