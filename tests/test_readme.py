"""The README's commands and its first test work as it says."""

from __future__ import annotations

import re

import pytest

from tests.docs.pages import PAGES, ROOT, blocks, comparable, files, run_pytest

THE_TWO_COMMANDS = [
    "python -m pip install . && engagelab-mock demo",
    "python -m pip install -e '.[test]' && python -m pytest",
]


# --- The README's own promises


def test_the_readme_has_the_two_commands() -> None:
    lines = "".join(blocks("README", "sh")).splitlines()
    assert [command for command in THE_TWO_COMMANDS if command not in lines] == []


def test_the_two_commands_are_on_the_first_screen() -> None:
    # As a code host shows it: text of 14 pixels and a picture, on a screen of 1080.
    lines = PAGES["README"].splitlines()
    last = max(lines.index(command) for command in THE_TWO_COMMANDS)
    picture = re.findall(r"!\[[^\]]*\]\((.+?)\)", "\n".join(lines[:last]))[0]
    height = re.search(r' height="(\d+)"', (ROOT / picture).read_text(encoding="utf-8"))
    assert height is not None
    assert int(height[1]) + 22 * last < 1000


def test_the_first_test_is_the_one_of_the_readme() -> None:
    [readme] = blocks("README", "python")
    assert files("docs/first-test") == {"test_shop.py": f"# test_shop.py\n{readme}"}


def test_the_first_test_explains_lines_that_are_there() -> None:
    page = PAGES["docs/first-test"]
    [test] = blocks("docs/first-test", "python")
    explained = re.findall(r"^`([^`]+)`.*\n: ", page, re.MULTILINE)
    assert len(explained) > 7
    assert [line for line in explained if line.partition("…")[0] not in test] == []


@pytest.fixture(scope="module")
def broken_views(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Run the README's and the tutorial's test files as they are, and broken in the ways that the pages name."""
    directory = tmp_path_factory.mktemp("docs")
    [readme] = blocks("README", "python")
    tutorial = files("docs/tutorial")["test_shop.py"]
    made = {
        "readme": readme,
        "readme_broken": replaced(readme, 'return "", 200', "pass"),
        "tutorial": tutorial,
        "tutorial_broken": replaced(tutorial, 'return "", 200', "pass"),
        "tutorial_plain": replaced(tutorial, "get_json(force=True, silent=True) or {}", "get_json()"),
    }
    for name, text in made.items():
        (directory / f"test_{name}.py").write_text(text, encoding="utf-8")
    return run_pytest(directory).stdout


def replaced(text: str, old: str, new: str) -> str:
    assert old in text
    return text.replace(old, new)


def test_the_documented_test_files_pass_and_fail_as_documented(broken_views: str) -> None:
    tests = re.findall(r"^(test_\w+\.py) ([.FE]+)", broken_views, re.MULTILINE)
    assert dict(tests) == {
        "test_readme.py": ".",
        "test_readme_broken.py": "F",
        "test_tutorial.py": "...",
        "test_tutorial_broken.py": "FFF",
        "test_tutorial_plain.py": "..F",
    }
    assert "the address validation was not acknowledged: answered 415 UNSUPPORTED MEDIA TYPE" in broken_views


@pytest.mark.parametrize("page", ["README", "docs/tutorial"])
def test_a_documented_failure_is_the_one_that_pytest_prints(page: str, broken_views: str) -> None:
    [documented] = blocks(page, "text")
    said = comparable(broken_views)
    for line in comparable(documented):
        assert line in said
