"""The starters: `init` writes them, each passes its tests and `check`, and `check` shows their sections as fixes."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from engagelab_mock import CHECKS, Recorder
from engagelab_mock.checks import processes
from engagelab_mock.checks.check import LANGUAGES
from engagelab_mock.cli import main, restarting
from engagelab_mock.cli.init import init
from engagelab_mock.server.loopback import LoopbackServer
from engagelab_mock.starters import STARTERS, section
from tests.docs.pages import environment
from tests.docs.ports import is_free
from tests.runtimes import PATIENCE, RUNTIMES, await_listening, npm_install, skip_without_runtime

ROOT = Path(__file__).parent.parent
PYTHON = ("flask", "django", "fastapi")
PROGRAMS = [name for name in STARTERS if name not in PYTHON]
#: Runs checks with settings and options, and returns the verdict of each.
Checks = Callable[..., dict[str, str]]
SECTIONS = ("Receive", "Signature", "Body", "Status", "Store", "Serve")

# --- init


@pytest.mark.parametrize("name", STARTERS)
def test_init_writes_the_files_and_names_the_next_commands(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "new" / "shop"
    assert main(["init", name, str(folder), "--format", "json"]) == 0
    said = json.loads(capsys.readouterr().out)
    written = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert written == sorted(said["files"])
    assert ".github/workflows/engagelab.yml" in written
    assert said["next"] == [f"cd {folder}", *STARTERS[name].commands]
    workflow = (folder / ".github/workflows/engagelab.yml").read_text(encoding="utf-8")
    assert all(f"- run: {command}\n" in workflow for command in STARTERS[name].commands)
    assert init.help is not None
    assert name in init.help
    # The guide exists, and the receiver names it.
    assert STARTERS[name].title in (ROOT / said["guide"]).read_text(encoding="utf-8").partition("\n")[0]
    texts = [(folder / file).read_text(encoding="utf-8") for file in said["files"]]
    assert [f"guide is {said['guide']} of engagelab-mock" in text for text in texts].count(True) == 1


def test_init_never_replaces_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("test_receiver.py").write_text("mine", encoding="utf-8")
    Path("receiver.py").symlink_to("nowhere.py")
    assert main(["init", "flask"]) == 2
    assert "already has receiver.py, test_receiver.py" in capsys.readouterr().err
    assert sorted(os.listdir()) == ["receiver.py", "test_receiver.py"]
    assert Path("test_receiver.py").read_text(encoding="utf-8") == "mine"
    # Other files in the folder are no obstacle.
    assert main(["init", "php"]) == 0
    guide = "Guide: docs/howto/php.md of engagelab-mock"
    assert capsys.readouterr().out.splitlines()[-4:] == ["Next:", "  sh test.sh", "", guide]


def test_init_says_what_it_cannot_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "file"
    file.write_text("")
    assert main(["init", "flask", str(file)]) == 2
    assert "is not a directory" in capsys.readouterr().err
    assert main(["init", "flask", str(file / "below")]) == 2
    assert "cannot be written" in capsys.readouterr().err
    assert main(["init", "flsk"]) == 2
    assert "did you mean 'flask'" in capsys.readouterr().err


# --- Fixes in other languages


@pytest.mark.parametrize("name", PROGRAMS)
def test_each_program_has_every_section(name: str) -> None:
    assert [heading for heading in SECTIONS if not section(name, heading)] == []


def test_every_fix_names_a_section_that_exists_or_none() -> None:
    named = {check.fix.section for check in CHECKS.values()}
    assert named == {*SECTIONS, ""}
    # Those whose code depends on the language most.
    for id, fact in {
        "B04": "constant",
        "B12": "300",
        "B17": "does not sign the body",
        "C06": "RANK",
        "D14": "digits",
    }.items():
        for name in PROGRAMS:
            assert fact.lower() in CHECKS[id].fix.code_in(name).lower(), f"{id} in {name}"
    assert [*LANGUAGES] == [*STARTERS]


@pytest.mark.slow
def test_check_shows_the_fix_in_the_languages_that_are_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    with LoopbackServer(Recorder()) as server:  # it accepts every callback
        command = ["check", server.url, "--username", "acme", "--secret", "s3cret", "--only", "B01"]
        languages = ["--language", "php", "--language", "go"]
        assert main([*command, "-v", *languages]) == 1
        detailed = capsys.readouterr().out
        assert main([*command, *languages]) == 1
        short = capsys.readouterr().out
        assert main([*command, "-v"]) == 1
        python = capsys.readouterr().out
        assert main([*command, "-v", "--language", "perl"]) == 2
    for name, label in (("php", "PHP"), ("go", "Go")):
        first, *others = section(name, "Signature").splitlines()
        assert f"      {label:<10}{first}\n" in detailed
        assert all(line.strip() in detailed for line in others)
    assert "Flask " not in detailed
    assert "function is_genuine" not in short
    assert "--language php --language go --only B01 -v" in short
    assert [label in python for label in ("Flask ", "Django ", "FastAPI ", "PHP ")] == [True, True, True, False]


def test_the_suite_imports_no_file_of_a_starter() -> None:
    # Their conftest.py would set up Django for every other test of the process.
    assert [place for place in sys.path if "starters" in place] == []


# --- They work


def copied(name: str, folder: Path) -> Path:
    """Write a starter into a new folder, and return it; skip the test if its runtime is not here."""
    if name in RUNTIMES:
        skip_without_runtime(name)
    assert main(["init", name, str(folder)]) == 0
    if name == "express":
        (folder.parent / "npm").mkdir()
        packages = npm_install(folder.parent / "npm", "express@5") / "node_modules"
        (folder / "node_modules").symlink_to(packages)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", PYTHON)
def test_the_tests_of_a_python_starter_pass(name: str, tmp_path: Path) -> None:
    folder = copied(name, tmp_path / "shop")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "engagelab_mock", "-p", "no:cacheprovider"]
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment() | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stdout
    assert re.search(r"^\d+ passed in", done.stdout, re.MULTILINE), done.stdout


SIGNER = {"ENGAGELAB_WEBHOOK_USERNAME": "acme", "ENGAGELAB_WEBHOOK_SECRET": "s3cret"}


def settings() -> dict[str, str]:
    """Return the environment for a program: a free port, and this interpreter's commands."""
    port = next(port for port in itertools.count(20_000 + os.getpid() % 10_000) if is_free(port))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return environment() | {"PORT": str(port), "PATH": path, "PHP_CLI_SERVER_WORKERS": "4", "SHOW_STATE": "1"}


@contextmanager
def session(command: list[str], folder: Path, setting: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Run a command while the block lasts, and end it with all that it started."""
    with (
        (folder / "output").open("w") as output,
        subprocess.Popen(
            command, cwd=folder, env=setting, stdout=output, stderr=subprocess.STDOUT, text=True, start_new_session=True
        ) as process,
    ):
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Checks:
    """Return a function that runs checks against a program, and returns the verdict of each.

    The program may take as long as it needs to start again: other tests may keep the machine busy.
    """
    monkeypatch.setattr(restarting, "LIMIT", PATIENCE)
    monkeypatch.setattr(processes, "RESTART_LIMIT", PATIENCE)

    def run(setting: dict[str, str], *options: str) -> dict[str, str]:
        for name, value in setting.items():
            monkeypatch.setenv(name, value)
        url = f"http://127.0.0.1:{setting['PORT']}"
        command = ["check", f"{url}/engagelab", "--observe", f"{url}/messages/{{message_id}}"]
        capsys.readouterr()  # `init` has printed the files
        main([*command, "--patience", "0.1", "--total", str(PATIENCE), "--format", "json", *options])
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        return {line["id"]: line["verdict"] for line in lines if line["type"] == "finding"}

    return run


# The pages run the scripts of the other programs.
@pytest.mark.slow
def test_the_script_of_the_express_starter_starts_it_and_it_passes_the_checks(tmp_path: Path) -> None:
    with session(["sh", "test.sh"], copied("express", tmp_path / "shop"), settings()) as script:
        script.wait(PATIENCE)
    said = (tmp_path / "shop" / "output").read_text(encoding="utf-8")
    assert script.returncode == 0, said
    assert re.search(r"^✓ 0 failed, [89]\d passed", said, re.MULTILINE), said
    assert "✓ 6 of 6 callbacks acknowledged" in said


#: It waits until the receiver has ended, and reports that a receiver is right.
ENGAGELAB_MOCK = """#!/bin/sh
until [ -s pid ]; do :; done
while ps -o stat= -p "$(cat pid)" | grep -q '^[^Z]'; do :; done
"""


@pytest.mark.slow
def test_the_script_fails_if_another_program_has_passed_in_place_of_the_receiver(tmp_path: Path) -> None:
    assert main(["init", "node", str(tmp_path)]) == 0
    (tmp_path / "start.sh").write_text("echo $$ > pid", encoding="utf-8")  # as if the port was in use
    program = tmp_path / "bin" / "engagelab-mock"
    program.parent.mkdir()
    program.write_text(ENGAGELAB_MOCK, encoding="utf-8")
    program.chmod(0o755)
    given = environment() | {"PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}", "TMPDIR": str(program.parent)}
    done = subprocess.run(["sh", "test.sh"], cwd=tmp_path, env=given, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    assert "The receiver has ended. Is port 8080 in use?" in done.stderr
    assert [each.name for each in program.parent.iterdir()] == ["engagelab-mock"], "the callbacks were left behind"


#: It kills the program with all its processes, waits until that has closed the connections, and starts it again.
RESTART = """
cd "$(dirname "$0")"
kill -s KILL -- -$(cat pid)
while ps -o stat= -p "$(cat pid)" | grep -q '^[^Z]'; do sleep 0.05; done
setsid sh start.sh > /dev/null 2>&1 &
echo $! > pid
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_remembers_everything_after_it_was_killed(name: str, tmp_path: Path, checks: Checks) -> None:
    folder, setting = copied(name, tmp_path / "shop"), settings() | SIGNER
    (folder / "restart.sh").write_text(RESTART, encoding="utf-8")
    with session(["sh", "start.sh"], folder, setting) as program:
        (folder / "pid").write_text(str(program.pid), encoding="utf-8")
        await_listening(program, int(setting["PORT"]))
        try:
            found = checks(setting, "--only", "B27,C25,C26", "--restart-command", f"sh {folder / 'restart.sh'}")
        finally:
            subprocess.run(["sh", "-c", f"kill -s KILL -- -$(cat {folder / 'pid'})"], capture_output=True, timeout=10)
    assert [verdict for id, verdict in found.items() if id in {"B27", "C25", "C26"}] == ["pass"] * 3, found


#: In each program: its file, a line that makes it safe, another one instead, and the check that notices.
MUTANTS = {
    "node": ("engagelab.mjs", '`"${token}"` : token', "token : token", "D14"),
    "express": ("app.mjs", "type: () => true", 'type: "application/json"', "D17"),
    "php": ("receiver.php", "WHERE excluded.rank > messages.rank", "", "C06"),
    "go": ("receiver.go", "used && known.Digest != arrived.Digest", "used && false && known.At > 0", "B17"),
    "java": ("Receiver.java", "Long.parseLong(timestamp)) > 300", "Long.parseLong(timestamp)) < 0", "B12"),
    "ruby": ("receiver.rb", "given.bytesize == expected.bytesize && ", "expected.start_with?(given) || ", "B05"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTANTS)
def test_a_program_without_a_line_that_makes_it_safe_fails(name: str, tmp_path: Path, checks: Checks) -> None:
    file, line, instead, check = MUTANTS[name]
    folder, setting = copied(name, tmp_path / "shop"), settings() | SIGNER
    text = (folder / file).read_text(encoding="utf-8")
    assert line in text
    (folder / file).write_text(text.replace(line, instead), encoding="utf-8")
    with session(["sh", "start.sh"], folder, setting) as program:
        await_listening(program, int(setting["PORT"]))
        assert checks(setting, "--only", check)[check] == "fail"
