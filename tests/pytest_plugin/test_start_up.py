"""The plugin adds only its help to a run that does not use it."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.pytest_plugin.conftest import QUICK, STRICT, Run

OFF = ("-p", "no:engagelab_mock")
HEAVY = "asyncio click engagelab_mock.service faker http.client msgspec requests responses rich sqlite3 werkzeug"

THREE_LINES = """
    def test_verified(engagelab):
        run = engagelab.send("+6591234567")
        assert run.statuses == ["plan", "sent", "delivered", "verified"]
"""


def test_importing_the_plugin_imports_nothing_heavy() -> None:
    program = f"""if True:
        import sys, pytest
        before = set(sys.modules)
        import engagelab_mock.pytest_plugin
        print(*sorted((set(sys.modules) - before) & set({HEAVY.split()!r})))
    """
    assert subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout == "\n"


@pytest.mark.parametrize(("argument", "loaded"), [("", False), ("engagelab", True)])
def test_the_engine_is_loaded_by_the_first_test_that_uses_it(
    pytester: pytest.Pytester, argument: str, loaded: bool
) -> None:
    text = f"""
        import sys

        def test_it({argument}):
            assert ("engagelab_mock.engagelab" in sys.modules) is {loaded}
            assert ("engagelab_mock.pytest_support" in sys.modules) is {loaded}
    """
    pytester.makepyfile(text)
    pytester.runpytest_subprocess(*STRICT, *QUICK).assert_outcomes(passed=1)


@pytest.mark.slow
def test_turned_off_it_is_gone(run: Run, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(THREE_LINES)
    result = pytester.runpytest_subprocess(*STRICT, *QUICK, *OFF)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["E       fixture 'engagelab' not found"])
    result = run(THREE_LINES, *OFF, "--engagelab-seed=1")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*unrecognized arguments: --engagelab-seed=1*"])
    for listing in ("--markers", "--help"):
        assert "pytest.mark.engagelab" not in run("", *OFF, listing).stdout.str()
        assert "--engagelab" not in run("", *OFF, listing).stdout.str()


def test_a_passing_run_looks_the_same_with_and_without_it(run: Run) -> None:
    text = """
        import pytest

        def test_one():
            print("x")

        @pytest.mark.skip
        def test_two():
            pass
    """
    on, off = (
        re.sub(r"^plugins:.*$|\d+\.\d+s", "", run(text, "-v", "-rA", *arguments).stdout.str(), flags=re.MULTILINE)
        for arguments in ((), OFF)
    )
    assert "1 passed, 1 skipped" in on
    assert on == off


def test_each_fixture_has_a_docstring(run: Run) -> None:
    output = run("", "--fixtures", "-v").stdout.str()
    section = output.partition("fixtures defined from engagelab_mock.pytest_plugin")[2].partition("\n---")[0]
    assert sorted(re.findall(r"^(engagelab\S*) -- ", section, flags=re.MULTILINE)) == [
        "engagelab",
        "engagelab_api",
        "engagelab_check_options",
        "engagelab_receiver",
        "engagelab_server",
    ]
    assert "no docstring available" not in section
    assert (
        "    Return the receiver of the callbacks; override this fixture in your conftest.py to return your own.\n"
        in section
    )
    assert '            run = engagelab.send("+6591234567")\n' in section


def test_the_marker_is_listed_with_its_arguments(run: Run) -> None:
    from engagelab_mock.pytest_support import MARKER_ARGUMENTS

    [line] = [line for line in run("", "--markers").outlines if line.startswith("@pytest.mark.engagelab")]
    signature = line.partition("(*, ")[2].partition("):")[0]
    assert sorted(signature.split(", ")) == sorted(MARKER_ARGUMENTS)


def test_the_options_have_their_own_group_and_ini_keys(run: Run) -> None:
    output = run("", "--help").stdout.str()
    group = output.partition("EngageLab OTP (engagelab-mock):")[2].partition("\n\n")[0]
    names = ["url", "username", "secret", "authorization", "seed", "nonce_seed"]
    options = [name.replace("-", "_") for name in re.findall(r"--engagelab-([\w-]+)=[A-Z-]+", group)]
    assert options == [*names, "replay", "report", "html"]
    assert re.findall(r"^  engagelab_(\w+) \(string\):", output, flags=re.MULTILINE) == names


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [("-p", "no:faker"), ("--import-mode=importlib",), ("--strict-markers", "-W", "error")],
    ids=" ".join,
)
def test_it_works_together_with(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    pytester.makepyfile(f"{THREE_LINES}\n    def test_wrong(engagelab): engagelab.send(scenario='verfied')")
    result = pytester.runpytest_subprocess(*STRICT, *QUICK[2:], *arguments)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*did you mean 'verified'[?]*"])
