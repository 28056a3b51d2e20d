"""The GitHub Action and the recipes for CI: their steps run as shell commands."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from engagelab_mock import EngageLab, Recorder
from engagelab_mock.server import ApiServer
from engagelab_mock.server.loopback import LoopbackServer
from tests.docs.pages import blocks, environment
from tests.docs.ports import free_ports
from tests.runtimes import PATIENCE

ROOT = Path(__file__).parent.parent
ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
PAGE = "docs/howto/ci"

pytestmark = pytest.mark.slow


class Runner:
    """Run the steps of the action as GitHub does: expressions replaced, each script in bash with its environment."""

    def __init__(self, directory: Path, **inputs: str) -> None:
        self.outputs: dict[str, dict[str, str]] = {}
        self.ran: list[str] = []
        #: The folders that the steps put on the PATH of later steps, the last one first.
        self.path: list[str] = []
        self._directory = directory
        self._inputs = {name: str(known["default"]) for name, known in ACTION["inputs"].items()} | inputs
        assert set(self._inputs) == set(ACTION["inputs"]), "an input that the action does not have"
        # An environment that has the package already: pip install is tested elsewhere, and takes long.
        (directory / "engagelab-mock" / "bin").mkdir(parents=True)
        for name in ("python", "engagelab-mock"):
            (directory / "engagelab-mock" / "bin" / name).symlink_to(Path(sys.executable).with_name(name))

    def run(self, *, install: bool = False) -> int:
        """Run all steps; return the exit code of the first that fails, or 0."""
        for step in ACTION["runs"]["steps"]:
            if not self._wanted(step.get("if", "true")) or "run" not in step:
                continue
            if step["name"].startswith("Install") and not install:
                continue
            self.ran.append(step["name"])
            output = self._directory / "output"
            path = self._directory / "path"
            for file in (output, path):
                file.write_text("")
            given = {name: self.resolved(text) for name, text in step.get("env", {}).items()}
            done = subprocess.run(
                ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
                env=self.environment() | given | {"GITHUB_OUTPUT": str(output), "GITHUB_PATH": str(path)},
                cwd=self._directory,
                stdout=subprocess.DEVNULL,
                timeout=PATIENCE,
            )
            self.path[:0] = reversed(path.read_text().splitlines())
            if "id" in step:
                self.outputs[step["id"]] = dict(line.split("=", 1) for line in output.read_text().splitlines())
            if done.returncode:
                return done.returncode
        return 0

    def environment(self) -> dict[str, str]:
        """Return the environment of the next step."""
        given = environment()
        return given | {"PATH": os.pathsep.join([*self.path, given["PATH"]])}

    def resolved(self, text: str) -> str:
        """Return a text with its expressions replaced."""

        def value(found: re.Match[str]) -> str:
            kind, _, name = found[1].partition(".")
            if kind == "inputs":
                return self._inputs[name]
            if kind == "steps":
                step, _, output = name.split(".")
                return self.outputs.get(step, {}).get(output, "")
            return {"github.action_path": str(ROOT), "runner.temp": str(self._directory)}[found[1]]

        return re.sub(r"\$\{\{ ([\w.-]+) \}\}", value, text)

    def output(self, name: str) -> str:
        return self.resolved(ACTION["outputs"][name]["value"])

    def _wanted(self, condition: str) -> bool:
        wanted = re.findall(r"inputs\.([\w-]+) == '(\w+)'", condition)
        return all(self._inputs[name] == value for name, value in wanted)


@contextmanager
def receiver(answer: int = 200) -> Iterator[str]:
    app = Recorder(username="acme", secret="s3cret", answer=answer)
    with LoopbackServer(app) as server:
        yield f"{server.url}/engagelab"


ON_PATH = "Put engagelab-mock on the PATH of later steps"
SIGNED = {"username": "acme", "secret": "s3cret"}


def test_the_server_is_started_and_its_address_is_an_output(tmp_path: Path) -> None:
    port = free_ports(PAGE)["8420"]
    with receiver() as url:
        runner = Runner(tmp_path, url=url, port=port, arguments="--speed 1000 --seed 7", **SIGNED)
        try:
            assert runner.run() == 0
            assert runner.ran == [ON_PATH, "Start the mock server"]
            assert runner.output("url") == f"http://127.0.0.1:{port}"
            ready = [sys.executable, "-m", "engagelab_mock", "ready", runner.output("url")]
            assert subprocess.run(ready, capture_output=True, timeout=PATIENCE).returncode == 0
        finally:
            with suppress(ProcessLookupError):
                os.kill(int(runner.outputs["serve"]["pid"]), signal.SIGTERM)


def test_a_server_that_runs_already_is_not_taken_for_the_one_that_is_started(tmp_path: Path) -> None:
    with ApiServer(EngageLab()) as server:
        runner = Runner(tmp_path, port=server.base_url.rpartition(":")[2], **SIGNED)
        assert runner.run() == 1
    assert "url" not in runner.outputs["serve"]


def test_a_later_step_finds_the_command_and_the_python_of_the_job(tmp_path: Path) -> None:
    (tmp_path / "job").mkdir()
    for name in ("python", "python3", "pip"):
        (tmp_path / "job" / name).write_text("#!/bin/sh\necho the job\n")
        (tmp_path / "job" / name).chmod(0o755)
    with receiver() as url:
        runner = Runner(tmp_path, command="check", url=url, arguments="--only A01", **SIGNED)
        assert runner.run() == 0
    # The PATH of the job has neither this project nor its Python.
    path = os.pathsep.join([*runner.path, str(tmp_path / "job"), "/usr/bin", "/bin"])
    step = "python; python3; pip; engagelab-mock --version; engagelab-mock scenarios > /dev/null"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", step],
        env=environment() | {"PATH": path},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("the job\n" * 3 + "engagelab-mock")


def test_a_server_that_cannot_start_fails_the_job(tmp_path: Path) -> None:
    runner = Runner(tmp_path, port=free_ports(PAGE)["8420"], wait="1", arguments="--sped 1")
    assert runner.run() == 1
    assert "No such option" in (tmp_path / "engagelab-mock" / "serve.log").read_text()


def test_a_receiver_is_checked_and_the_reports_are_outputs(tmp_path: Path) -> None:
    with receiver() as url:
        runner = Runner(tmp_path, command="check", url=url, arguments="--only A01,B01", **SIGNED)
        assert runner.run() == 0
    assert runner.ran == [ON_PATH, "Check the receiver"]
    suite = ElementTree.parse(runner.output("junit")).getroot()
    judged = [case for case in suite.iter("testcase") if case.find("skipped") is None]
    assert {case.get("name", "").split()[0] for case in judged} == {"A01", "B01"}
    assert '"version"' in Path(runner.output("sarif")).read_text()


def test_a_receiver_that_falls_short_fails_the_job_and_leaves_the_reports(tmp_path: Path) -> None:
    with receiver(answer=500) as url:
        runner = Runner(tmp_path, command="check", url=url, arguments="--only A01", **SIGNED)
        assert runner.run() == 1
    assert Path(runner.output("sarif")).exists()


def test_an_input_is_not_run_as_a_command(tmp_path: Path) -> None:
    """Inputs reach a script through its environment, and never through its text."""
    for step in ACTION["runs"]["steps"]:
        assert "${{" not in step.get("run", "")
    with receiver() as url:
        runner = Runner(
            tmp_path, command="check", url=url, arguments="--only A01 $(touch hacked) ; touch hacked", **SIGNED
        )
        assert runner.run() != 0
    assert not (tmp_path / "hacked").exists()


def test_the_workflows_of_the_page_use_inputs_and_outputs_that_the_action_has() -> None:
    workflows = [yaml.safe_load(text) for text in blocks(PAGE, "yaml") if "OWNER/engagelab-mock" in text]
    assert len(workflows) == 2
    for workflow in workflows:
        for job in workflow["jobs"].values():
            for step in job["steps"]:
                if step.get("uses", "").startswith("OWNER/"):
                    assert set(step["with"]) <= set(ACTION["inputs"])
                used = re.findall(r"steps\.engagelab\.outputs\.(\w+)", str(step))
                assert set(used) <= set(ACTION["outputs"])


def test_the_gitlab_job_runs_as_shell(tmp_path: Path) -> None:
    [text] = [text for text in blocks(PAGE, "yaml") if text.startswith("# .gitlab-ci.yml")]
    job = yaml.safe_load(text)["receiver"]
    [receiver_py] = [code for code in blocks("docs/howto/any-language", "python") if "# receiver.py" in code]
    (tmp_path / "receiver.py").write_text(receiver_py)
    install, *commands = job["script"]
    assert install == "python -m pip install ./engagelab-mock"
    port = free_ports(PAGE)["5000"]
    script = "\n".join(["trap 'kill $(jobs -p)' EXIT", *commands]).replace("5000", port)
    script = script.replace("--wait 30", "--wait 30 --only A01,B01")  # all of them take long
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        env=environment() | {"PATH": path},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / job["artifacts"]["reports"]["junit"]).exists()
