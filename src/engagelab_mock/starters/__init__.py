"""Safe receivers to copy, one for each framework and language, with their tests and a step for CI.

The files are next to this module. `engagelab-mock init` writes them, the documentation shows them, and `check` takes
the code of a fix from their sections. A section begins with a comment such as `// --- Signature`.
"""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent
from typing import NamedTuple

from engagelab_mock.errors import UnknownName

_FOLDER = Path(__file__).parent
_CI = ".github/workflows/engagelab.yml"
_MARK = re.compile(r"^[ \t]*(?://|#) --- (\w+)\n", re.MULTILINE)


class Starter(NamedTuple):
    """One starter: its files, and the commands that come next.

    >>> STARTERS["php"].files["receiver.php"]
    'php/receiver.php'
    """

    title: str
    #: The name of the language, as highlighters of code know it.
    language: str
    #: The path of each file in the user's folder, with its path below this module.
    files: dict[str, str]
    #: The commands that test it.
    commands: tuple[str, ...]
    #: The page of this project's documentation that explains it.
    guide: str

    @property
    def receivers(self) -> list[str]:
        """Return the files of the receiver, in the order in which they are read."""
        return [name for name in self.files if name.endswith(_ENDINGS) and not name.startswith(("test_", "conftest"))]

    def text(self, name: str) -> str:
        """Return the text of a file.

        >>> STARTERS["flask"].text("requirements.txt").splitlines()[1]
        'engagelab-mock'
        """
        return (_FOLDER / self.files[name]).read_text(encoding="utf-8")

    def sections(self, name: str) -> dict[str, str]:
        """Return the sections of a file, by their names. The part before the first has the name "".

        >>> list(STARTERS["express"].sections("app.mjs"))
        ['Serve']
        """
        head, *parts = _MARK.split(self.text(name))
        found = {"": head} | dict(zip(parts[::2], parts[1::2], strict=True))
        return {name: dedent(text).strip("\n") for name, text in found.items() if text.strip()}


_ENDINGS = (".py", ".mjs", ".php", ".go", ".java", ".rb")


def _python(name: str, title: str, *files: str) -> Starter:
    made = {file: f"{name}/{file}" for file in (*files, "requirements.txt")} | {_CI: "python/ci.yml"}
    commands = ("python -m pip install -r requirements.txt", "python -m pytest")
    return Starter(title, "python", made, commands, f"docs/howto/{name}.md")


def _program(title: str, language: str, *files: str) -> Starter:
    made = {file.partition("/")[2]: file for file in files} | {"test.sh": "shell/test.sh", _CI: "shell/ci.yml"}
    # The receiver's language, which is in the first file, has the page.
    return Starter(title, language, made, ("sh test.sh",), f"docs/howto/{files[0].partition('/')[0]}.md")


#: Every starter by its name.
STARTERS = {
    "flask": _python("flask", "Flask", "receiver.py", "test_receiver.py"),
    "django": _python(
        "django", "Django", "settings.py", "shop/models.py", "shop/views.py", "conftest.py", "test_shop.py"
    ),
    "fastapi": _python("fastapi", "FastAPI", "receiver.py", "test_receiver.py"),
    "node": _program("Node", "javascript", "node/engagelab.mjs", "node/app.mjs", "node/start.sh"),
    "express": _program(
        "Express",
        "javascript",
        *("node/engagelab.mjs", "express/app.mjs", "express/package.json", "express/start.sh"),
    ),
    "php": _program("PHP", "php", "php/receiver.php", "php/start.sh"),
    "go": _program("Go", "go", "go/receiver.go", "go/start.sh"),
    "java": _program("Java", "java", "java/Receiver.java", "java/start.sh"),
    "ruby": _program("Ruby", "ruby", "ruby/receiver.rb", "ruby/start.sh"),
}


def starter(name: str) -> Starter:
    """Return a starter by its name, or raise `UnknownName`.

    >>> starter("go").title
    'Go'
    """
    if name not in STARTERS:
        raise UnknownName("starter", name, STARTERS)
    return STARTERS[name]


def section(name: str, heading: str) -> str:
    """Return a section of a starter's receiver, or "" if the receiver has no such section.

    >>> section("ruby", "Signature").splitlines()[0]
    'def genuine?(header)'
    """
    known = starter(name)
    return next((known.sections(file)[heading] for file in known.receivers if heading in known.sections(file)), "")
