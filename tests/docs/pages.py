"""The pages as their reader gets them, and the files that their blocks make."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[2]
#: How long a test suite of a page may take before it is called stuck, in seconds.
PATIENCE = 600.0
#: Every page, by its path without suffix.
PAGES = {
    path.relative_to(ROOT).with_suffix("").as_posix(): path.read_text(encoding="utf-8")
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
}
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_NAME = re.compile(r"(?:#|//) ([\w./-]+\.\w+)\n")


def blocks(page: str, *languages: str) -> list[str]:
    """Return a page's code blocks in these languages."""
    return [code for language, code in _BLOCK.findall(PAGES[page]) if language in languages]


def files(page: str) -> dict[str, str]:
    """Return the files that a page's blocks make.

    The first line of a block may be a comment with the name of its file. A Python block without one goes on with the
    file of the block before it.
    """
    name = f"test_{Path(page).name.lower().replace('-', '_')}.py"
    made: dict[str, str] = {}
    for language, code in _BLOCK.findall(PAGES[page]):
        named = _NAME.match(code)
        if language == "python":
            name = named[1] if named else name
            made[name] = f"{made[name]}\n\n{code}" if name in made else code
        elif named:
            made[named[1]] = code
    return made


@contextmanager
def folder(*pages: str) -> Iterator[Path]:
    """Write the files of pages into an empty folder; in memory, if there is one: a `check` makes a thousand commits."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        for file, code in (each for page in pages for each in files(page).items()):
            path = Path(name, file)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(code, encoding="utf-8")
        yield Path(name)


def run_pytest(directory: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run pytest in a folder, with no other plugin than this package's and those of the options."""
    arguments = ["-c", os.devnull, "--rootdir=.", "-p", "engagelab_mock", "-p", "no:cacheprovider", *options]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *arguments],
        cwd=directory,
        env=environment() | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


def environment() -> dict[str, str]:
    """Return the environment without the settings of the tests, and of the one who runs them."""
    ours = ("PYTEST_", "PYTHON", "ENGAGELAB_", "NO_COLOR", "FORCE_COLOR")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


def comparable(text: str) -> list[str]:
    """Return the lines without ellipses, and without the times that something took."""
    lines = [re.sub(r"\d+\.\d+(?= m?s\b)", "N", line.rstrip()) for line in text.splitlines()]
    return [line for line in lines if line != "..."]
