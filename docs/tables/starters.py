"""The files of the receivers to copy, whole and in sections."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from engagelab_mock.starters import STARTERS, Starter

#: The starters that have a page with their sections.
PROGRAMS = {name: known for name, known in STARTERS.items() if known.language != "python" and name != "express"}


def receiver(name: str) -> str:
    """Return every section of a program under a heading."""
    known = STARTERS[name]
    parts = []
    for file in known.receivers:
        for heading, code in known.sections(file).items():
            where = f", in `{file}`" if len(known.receivers) > 1 else ""
            title = f"### {heading}" if heading else f"The beginning{where}:"
            parts.append(f"{title}\n\n```{known.language}\n{code}\n```")
    return "\n\n".join(parts)


def file_of(known: Starter, name: str, heading: str | None = None) -> str:
    """Return a file of a starter, or one of its sections, as the code block that starts or continues the file."""
    if heading is None:
        return f"```{known.language}\n# {name}\n{known.text(name).strip()}\n```"
    start = f"# {name}\n" if not heading else ""
    return f"```{known.language}\n{start}{known.sections(name)[heading]}\n```"


TABLES: dict[str, Callable[[], str]] = {f"receiver-{name}": partial(receiver, name) for name in PROGRAMS}
for _name, _known in STARTERS.items():
    for _file in filter(lambda name: name.endswith((".py", ".mjs")), _known.files):
        _stem = f"file-{_name}-{Path(_file).stem.replace('_', '-')}"
        TABLES[_stem] = partial(file_of, _known, _file)
        TABLES |= {
            f"{_stem}-{heading.lower() or 'head'}": partial(file_of, _known, _file, heading)
            for heading in _known.sections(_file)
        }
