from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from engagelab_mock import __version__
from engagelab_mock.cli import group, main
from tests.cli.conftest import Command

COMMANDS = ("demo", "listen", "scenarios", "send", "sign", "verify")


def test_the_version_is_the_packages(command: Command) -> None:
    assert command("--version").out == f"engagelab-mock {__version__}\n"


def test_help_lists_every_command_and_the_exit_codes(command: Command) -> None:
    result = command("--help")

    assert result.code == 0
    for name in COMMANDS:
        assert f"\n  {name} " in result.out
    assert "3 receiver" in result.out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(command: Command, name: str) -> None:
    result = command(name, "--help")

    assert result.code == 0
    assert "--format [text|json]" in result.out


def test_help_is_the_same_without_docstrings() -> None:
    every = [[], *([name] for name in group.commands)]
    code = f"from engagelab_mock.cli import main\nfor words in {every}: main([*words, '--help'])"

    # Both in processes of their own: click keeps the help option of a command that another test has used by itself.
    with_and_without = (
        subprocess.run([sys.executable, *options, "-c", code], capture_output=True, text=True, check=True).stdout
        for options in ([], ["-OO"])
    )
    assert len(set(with_and_without)) == 1


def test_no_summary_is_cut_at_80_columns(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    said = command("--help").out

    assert "..." not in said.partition("Commands:")[2]
    assert max(map(len, said.splitlines())) <= 80


def test_no_command_is_an_error_of_usage(command: Command) -> None:
    result = command()

    assert (result.code, result.out) == (2, "")
    assert "Commands:" in result.err


def test_it_runs_in_any_thread(capsys: pytest.CaptureFixture[str]) -> None:
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(main(["scenarios", "--format", "json"])))
    thread.start()
    thread.join()

    assert codes == [0]


def test_a_reader_that_leaves_early_causes_no_traceback() -> None:
    program = subprocess.Popen(
        [sys.executable, "-m", "engagelab_mock", "demo"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with program:
        assert program.stdout is not None
        assert program.stderr is not None
        program.stdout.readline()
        program.stdout.close()
        said = program.stderr.read()

    assert b"Traceback" not in said


def test_the_package_does_not_import_the_command_line_s_dependencies() -> None:
    heavy = {"click", "rich", "werkzeug"}
    code = f"import engagelab_mock, sys; print(sorted({heavy!r} & set(sys.modules)))"

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
