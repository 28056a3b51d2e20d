"""The Python blocks of a page, copied into an empty folder, run as the page says."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from engagelab_mock import EngageLab, Receiver
from tests.docs.pages import PAGES, blocks, comparable, files, folder, run_pytest

WITH_PYTHON = [page for page in PAGES if blocks(page, "python")]
#: A page that makes one file shares a folder and a process with some others: a separate process takes longer to start
#: than most pages take to run. A page of several files has its own.
_ALONE = [page for page in WITH_PYTHON if len(files(page)) > 1]
_TOGETHER = [page for page in WITH_PYTHON if page not in _ALONE]
FOLDERS = [_TOGETHER[first::4] for first in range(4)] + [[page] for page in _ALONE]
#: The packages that come with this one, and the names of those whose module is called otherwise.
INCLUDED = {"engagelab_mock", "faker", "pytest", "responses", "werkzeug", *sys.stdlib_module_names}
PACKAGES = {"engagelab_otp": "engagelab-otp", "hypothesis": "'.[hypothesis]'"}


@pytest.mark.slow
@pytest.mark.parametrize("pages", FOLDERS, ids=", ".join)
def test_the_blocks_of_pages_run_as_their_files(pages: list[str]) -> None:
    made = {name: code for page in pages for name, code in files(page).items()}
    assert len(made) == sum(len(files(page)) for page in pages), "two pages have a file of the same name"
    plugins = ["-pasyncio", "-oasyncio_default_fixture_loop_scope=function", "-panyio"]
    with folder(*pages) as directory:
        said = run_pytest(directory, "-v", "-Werror", *plugins).stdout
    results = dict(re.findall(r"^(\S+?\.py::\w+)(?:\[.*\])? (PASSED|FAILED|ERROR|SKIPPED)", said, re.MULTILINE))
    tests = found(r"^(?:async )?def (test_\w+)", made)
    failing = found(r"def (test_\w+)\(.*\):  # fails$", made)
    assert {name for name, result in results.items() if result in {"FAILED", "ERROR"}} == failing, said
    assert tests <= set(results), said
    assert "error" not in said.splitlines()[-1], said
    if failing:
        printed = comparable(said)
        shown = [text for page in pages if found("# fails$", files(page)) for text in blocks(page, "text")]
        assert [line for text in shown for line in comparable(text) if line not in printed] == [], said


def found(pattern: str, made: dict[str, str]) -> set[str]:
    """Return the matches of a pattern in files, each with the name of its file."""
    return {f"{name}::{match}" for name, code in made.items() for match in re.findall(pattern, code, re.MULTILINE)}


@pytest.mark.parametrize("page", WITH_PYTHON)
def test_a_page_names_the_packages_to_install(page: str) -> None:
    code = "\n".join(files(page).values())
    modules = set(re.findall(r"^ *(?:from|import) (\w+)", code, re.MULTILINE)) - INCLUDED
    modules -= {Path(name).parts[0].removesuffix(".py") for name in files(page)}
    needed = {PACKAGES.get(module, module) for module in modules}
    needed |= {f"pytest-{plugin}" for plugin in re.findall(r"pytest\.mark\.(asyncio)", code)}
    commands = " ".join(re.findall(r"pip install ([^`\n]*)", PAGES[page]))
    assert needed - set(commands.split()) == set()


def test_the_blocks_are_tidy(tmp_path: Path) -> None:
    for page in WITH_PYTHON:
        for name, code in files(page).items():
            path = tmp_path / page / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(code, encoding="utf-8")
    for command in (["check", "--select=E9,F", "-q"], ["format", "--check", "--line-length=120", "-q", "--diff"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--isolated", "--no-cache", str(tmp_path)]
        done = subprocess.run(ruff, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_blocks_import_nothing_of_the_checkout() -> None:
    code = "\n".join(code for page in PAGES for code in files(page).values())
    assert re.findall(r"^ *(?:from|import) tests\b.*", code, re.MULTILINE) == []
    assert "literalinclude" not in "".join(PAGES.values())


@pytest.mark.parametrize(
    ("line", "instead", "fails"),
    [
        ("", "", []),
        # The status falls back to `delivered`, and rises to `verified` again.
        ("excluded.rank > messages.rank", "true", ["C01", "C06", "C09"]),
        ("return known == (body,)", "return True", ["B17"]),
        ("verifier.verify(header)", "pass", ["B02"]),
    ],
)
def test_each_line_that_makes_the_flask_receiver_safe_is_needed(
    line: str, instead: str, fails: list[str], engagelab: EngageLab, tmp_path: Path
) -> None:
    code = files("docs/howto/flask")["receiver.py"]
    assert line in code
    page: dict[str, Any] = {"__name__": "page"}
    exec(code.replace(line, instead), page)
    database = str(tmp_path / "shop.sqlite")
    app = page["create_app"](database, username="acme", secret="s3cret")

    def state(message_id: str) -> Any:
        with closing(sqlite3.connect(database)) as db:
            return db.execute("SELECT status, credits FROM messages WHERE id = ?", [message_id]).fetchone()

    receiver = Receiver.wsgi(app, "/engagelab", username="acme", secret="s3cret", observe=state)
    report = engagelab.check(receiver, patience=0.05, only=["B02", "B17", "C01", "C06", "C09"])
    assert [finding.id for finding in report.at_least("major")] == fails
