"""Draw SVG pictures that are legible in light and dark, and that need nothing from outside: no font, style or image."""

from __future__ import annotations

import textwrap
from html import escape

#: Text is in a typewriter face, so that its width is known without measuring: this many ems per character.
_ADVANCE = 0.602

_STYLE = """\
    svg { --paper: #ffffff; --ink: #1f2328; --soft: #656d76; --rule: #d0d7de; --fill: #f6f8fa;
          --good: #1a7f37; --bad: #cf222e; --blue: #0969da; --amber: #9a6700; }
    @media (prefers-color-scheme: dark) {
      svg { --paper: #0d1117; --ink: #e6edf3; --soft: #9198a1; --rule: #3d444d; --fill: #161b22;
            --good: #3fb950; --bad: #ff7b72; --blue: #58a6ff; --amber: #d29922; }
    }
    text { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: var(--ink);
           white-space: pre; paint-order: stroke; stroke: var(--paper); stroke-width: 3px; }
    .soft { fill: var(--soft); } .good { fill: var(--good); } .bad { fill: var(--bad); } .blue { fill: var(--blue); }
    .amber { fill: var(--amber); } .bold { font-weight: bold; }
    rect, path { fill: none; stroke: var(--rule); stroke-width: 1.5; }
    .paper { fill: var(--paper); } .box { fill: var(--fill); }
    .line-ink { stroke: var(--ink); } .line-soft { stroke: var(--soft); } .line-good { stroke: var(--good); }
    .line-bad { stroke: var(--bad); } .line-blue { stroke: var(--blue); } .line-amber { stroke: var(--amber); }
    .dashed { stroke-dasharray: 5 4; }
"""


class Picture:
    """Collect the shapes of one picture; a screen reader reads `title` aloud."""

    def __init__(self, width: float, height: float, title: str) -> None:
        self._size = f"{width:g} {height:g}"
        self._title = title
        self._shapes: list[str] = []
        self.box(0.75, 0.75, width - 1.5, height - 1.5, "paper", radius=8)

    def text(self, x: float, y: float, words: str, style: str = "", *, size: float = 14, anchor: str = "start") -> None:
        """Write one line; it takes the same width in every typewriter face."""
        length = f"{len(words) * size * _ADVANCE:.1f}"
        self._shapes.append(
            f'<text x="{x:g}" y="{y:g}" font-size="{size:g}" text-anchor="{anchor}" textLength="{length}"'
            f' lengthAdjust="spacingAndGlyphs" class="{style}">{escape(words)}</text>'
        )

    def box(self, x: float, y: float, width: float, height: float, style: str = "box", *, radius: float = 5) -> None:
        self._shapes.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{radius:g}" class="{style}"/>'
        )

    def path(self, course: str, style: str = "line-ink") -> None:
        self._shapes.append(f'<path d="{course}" class="{style}"/>')

    def arrow(self, x: float, y: float, to_x: float, style: str = "line-ink") -> None:
        """Draw a level arrow."""
        back = 7 if to_x < x else -7
        self.path(f"M{x:g} {y:g} H{to_x:g} m{back} -4 L{to_x:g} {y:g} l{back} 4", style)

    def render(self) -> str:
        width, height = self._size.split()
        shapes = "\n".join(f"  {shape}" for shape in self._shapes)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {self._size}"'
            f' role="img">\n  <title>{escape(self._title)}</title>\n  <style>\n{_STYLE}  </style>\n{shapes}\n</svg>\n'
        )


def width_of(words: str, *, size: float = 14) -> float:
    return len(words) * size * _ADVANCE


def wrapped(words: str, width: float, *, size: float = 14) -> list[str]:
    """Return a sentence in lines that are no wider than this."""
    return textwrap.wrap(words, int(width / (size * _ADVANCE)))
