"""The architecture: the layers, as the tests enforce them, each with the first line of its docstring."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

from svg import Picture, wrapped

_ROOT = Path(__file__).parent.parent.parent
_SOURCE = _ROOT / "src" / "engagelab_mock"
sys.path.append(str(_ROOT))

from tests.test_layers import FACADE, FACES, LAYERS  # noqa: E402

ALT = (
    "The layers, from top to bottom: the faces, which are the pytest plugin, the command line, the server and "
    "the integrations; then checks, explore, the public class EngageLab, service, delivery, messages, protocol, "
    "data, clock, event loop and errors. A layer imports only the layers below it, but the verbs of EngageLab load "
    "checks and explore. Your app calls the server, and delivery sends the callbacks to your app."
)

_LEFT, _WIDTH, _APP = 20, 430, 556
_PYTEST = {"pytest": "pytest_plugin.py"}


def draw() -> str:
    faces = [face for face in FACES if _path(face).exists()]
    rows = LAYERS[::-1]
    texts = {row: wrapped(_says(row), _WIDTH - 126, size=12) for row in rows}
    heights = {row: 20 + 16 * len(texts[row]) for row in rows}
    total = 80 + sum(heights.values()) + 8 * len(rows)
    picture = Picture(640, total, ALT)
    width = (_WIDTH - 8 * (len(faces) - 1)) / len(faces)
    for number, face in enumerate(faces):
        x = _LEFT + number * (width + 8)
        picture.box(x, 20, width, 40, "box line-blue")
        picture.text(x + width / 2, 45, face, "bold", size=12.5, anchor="middle")
    y = 72.0
    for row in rows:
        picture.box(_LEFT, y, _WIDTH, heights[row], f"box line-{'good' if row == FACADE else 'soft'}")
        picture.text(_LEFT + 12, y + 22, row, "bold", size=13)
        for number, line in enumerate(texts[row]):
            picture.text(_LEFT + 114, y + 22 + 16 * number, line, "soft", size=12)
        if row == "delivery":
            picture.arrow(_LEFT + _WIDTH, y + 24, _APP, "line-good")
            picture.text((_LEFT + _WIDTH + _APP) / 2, y + 16, "callbacks", "good", size=12.5, anchor="middle")
            bottom = y + 44
        y += heights[row] + 8
    picture.arrow(_APP, 40, _LEFT + _WIDTH, "line-blue")
    picture.text((_LEFT + _WIDTH + _APP) / 2, 32, "API calls", "blue", size=12.5, anchor="middle")
    picture.box(_APP, 20, 66, bottom - 20, "box line-ink")
    for number, word in enumerate(["your", "app"]):
        picture.text(_APP + 33, (20 + bottom) / 2 + 18 * number, word, "bold", anchor="middle")
    note = "A layer imports only the layers below it. EngageLab loads checks and explore when a test calls them."
    for number, line in enumerate(wrapped(note, 640 - _LEFT - _WIDTH - 40, size=12)):
        picture.text(_LEFT + _WIDTH + 20, bottom + 40 + 17 * number, line, "soft", size=12)
    return picture.render()


def _path(part: str) -> Path:
    package = _SOURCE / part / "__init__.py"
    return package if package.exists() else _SOURCE / _PYTEST.get(part, f"{part}.py")


def _says(part: str) -> str:
    """Return the first sentence of a module's docstring."""
    documented = ast.get_docstring(ast.parse(_path(part).read_text(encoding="utf-8"))) or ""
    first = documented.partition("\n\n")[0].replace("\n", " ").replace("`", "")
    return first.partition(". ")[0].removesuffix(".") + "."
