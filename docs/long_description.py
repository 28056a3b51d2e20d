"""The README as a package index can show it: a terminal's picture as text, other pictures and links left out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from hatchling.metadata.plugin.interface import MetadataHookInterface

_PICTURE = re.compile(r"!\[[^\]]*\]\((?P<path>(?!https?:)[^)]+)\)")
_LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]+)\]\((?!https?:)[^)]+\)")


def long_description(root: Path) -> str:
    """Return the README with nothing in it that only works inside the project."""
    text = (root / "README.md").read_text(encoding="utf-8")
    text = _PICTURE.sub(lambda picture: _as_text(root / picture["path"]), text)
    return _LINK.sub(lambda link: link["text"], text)


def _as_text(picture: Path) -> str:
    """Return the lines of a terminal's picture, without the buttons of its window; "" for another picture."""
    if picture.suffix != ".svg":
        return ""
    texts = ElementTree.parse(picture).iterfind("{http://www.w3.org/2000/svg}text")
    lines = [line for text in texts if (line := text.text or "") != "●"]
    return "\n".join(["```text", *lines, "```"])


class LongDescription(MetadataHookInterface):
    """Give the built packages this README."""

    def update(self, metadata: dict[str, Any]) -> None:
        metadata["readme"] = {"content-type": "text/markdown", "text": long_description(Path(self.root))}
