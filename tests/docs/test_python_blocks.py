"""The Python blocks of a page, copied into an empty folder, run as the page says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engagelab_mock import EngageLab
from tests.docs.pages import PAGES, blocks, comparable, files, folder, run_pytest

#: What a page tells its reader to install, and the plugin that pytest finds then.
PLUGINS = {
    "pytest-asyncio": ["-pasyncio", "-oasyncio_default_fixture_loop_scope=function"],
    "anyio's pytest plugin": ["-panyio"],
}
WITH_PYTHON = [page for page in PAGES if blocks(page, "python")]


@pytest.mark.parametrize("page", WITH_PYTHON)
def test_the_blocks_of_a_page_run_as_its_files(page: str) -> None:
    options = [option for name, given in PLUGINS.items() if name in PAGES[page] for option in given]
    with folder(page) as directory:
        said = run_pytest(directory, "-v", "-Werror", *options).stdout
    code = "\n".join(files(page).values())
    results = dict(re.findall(r"::(\w+)(?:\[.*\])? (PASSED|FAILED|ERROR|SKIPPED)", said))
    failing = re.findall(r"def (test_\w+)\(.*\):  # fails$", code, re.MULTILINE)
    assert {name for name in results if results[name] in {"FAILED", "ERROR"}} == set(failing), said
    assert set(re.findall(r"^(?:async )?def (test_\w+)", code, re.MULTILINE)) <= set(results), said
    assert "error" not in said.splitlines()[-1], said
    if failing:
        printed = comparable(said)
        assert [line for text in blocks(page, "text") for line in comparable(text) if line not in printed] == [], said


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
    code = files("docs/howto/flask")["test_flask.py"]
    assert line in code
    page: dict[str, Any] = {"__name__": "page"}
    exec(code.replace(line, instead), page)
    shop = page["Shop"](str(tmp_path / "shop.sqlite"))
    receiver = page["Receiver"].wsgi(shop.app, "/engagelab", username="acme", secret="s3cret", observe=shop.state)
    report = engagelab.check(receiver, patience=0.05, only=["B02", "B17", "C01", "C06", "C09"])
    assert [finding.id for finding in report.at_least("major")] == fails
