"""Locust runs our users: real Locust in processes of its own, as importing it changes the whole process."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import flask
import pytest
from werkzeug import Request, Response

from engagelab_mock import EngageLab, Receiver, Recorder
from engagelab_mock.load.ledger import LedgerReader
from engagelab_mock.server import ApiServer
from engagelab_mock.server.loopback import LoopbackServer
from tests.docs.pages import blocks
from tests.integrations.locust_process import environment, free_port, needs_locust

pytestmark = [pytest.mark.slow, needs_locust]

CALLBACKS = """
    from engagelab_mock.integrations.locust import EngageLabUser

    class Callbacks(EngageLabUser):
        host = "{url}"
        username, secret = "acme", "s3cret"
        rate, duration = 100, 2
"""
LOGIN = """
    from locust import constant_throughput
    from engagelab_mock.integrations.locust import OtpLogin

    class Login(OtpLogin):
        host = "{app}"
        mock = "{mock}"
        wait_time = constant_throughput(10)

        def ask(self, to):
            return self.client.post("/login", json={{"to": to}}).json()["message_id"]

        def enter(self, to, code, asked):
            answer = self.client.post("/login/code", json={{"message_id": asked, "code": code}})
            assert answer.json()["in"] is True
"""


@pytest.fixture
def receiver() -> Iterator[str]:
    with LoopbackServer(Recorder(username="acme", secret="s3cret")) as server:
        yield f"{server.url}/engagelab"


def locust(directory: Path, file: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    (directory / "locustfile.py").write_text(textwrap.dedent(file))
    command = [sys.executable, "-m", "locust", "--headless", "--only-summary", "--users", "1", *arguments]
    return subprocess.run(command, cwd=directory, env=environment(), capture_output=True, text=True, timeout=120)


def requests(text: str) -> dict[str, tuple[int, int]]:
    """Return how many requests Locust counts, and how many failed, by name."""
    rows = re.findall(r"^(?:CALLBACK|LOGIN|GET|POST) +(\S+) +(\d+) +(\d+)\(", text, re.MULTILINE)
    return {name: (int(count), int(failed)) for name, count, failed in rows}


def entries(path: Path) -> int:
    reader = LedgerReader(path)
    count = sum(1 for _ in reader)
    assert reader.complete, reader.problem
    return count


@pytest.mark.parametrize("processes", [1, 2])
def test_a_locustfile_sends_a_load_and_counts_every_delivery(tmp_path: Path, receiver: str, processes: int) -> None:
    arguments = ["--processes", str(processes)] if processes > 1 else []
    done = locust(tmp_path, CALLBACKS.format(url=receiver), *arguments)

    assert done.returncode == 0, done.stdout + done.stderr
    counted = requests(done.stdout + done.stderr)
    assert counted == dict.fromkeys(("plan", "sent", "delivered", "verified"), (50, 0))
    ledgers = sorted((tmp_path / "ledgers").iterdir())
    assert len(ledgers) == processes
    assert sum(map(entries, ledgers)) == 200


def test_a_callback_that_is_not_acknowledged_is_a_failure_for_locust(tmp_path: Path) -> None:
    app = Request.application(lambda request: Response(status=500))
    with LoopbackServer(app) as server:
        done = locust(tmp_path, CALLBACKS.format(url=f"{server.url}/"))
    counted = requests(done.stdout + done.stderr)
    assert counted
    assert all(count == failed for count, failed in counted.values())
    assert "not_200 500" in done.stdout + done.stderr


def test_a_load_that_cannot_start_fails_the_run_and_says_why(tmp_path: Path, receiver: str) -> None:
    file = CALLBACKS.format(url=receiver) + '        mix = {"verfied": 1}\n'
    done = locust(tmp_path, file)
    assert done.returncode != 0
    assert "did you mean 'verified'" in done.stdout + done.stderr


def load(url: str, *arguments: str, directory: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "engagelab_mock", "load", url, "--username", "acme", "--secret", "s3cret"]
    return subprocess.Popen(
        [*command, "--rate", "100", *arguments],
        cwd=directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_the_command_sends_from_several_processes_and_judges_all_ledgers(tmp_path: Path, receiver: str) -> None:
    (tmp_path / "kept").mkdir()  # as after a run before
    with load(receiver, "--duration", "2", "--processes", "2", "--ledger", "kept", directory=tmp_path) as program:
        said, _ = program.communicate(timeout=120)
    assert program.returncode == 0, said
    assert "200 of 200" in said
    assert "2 workers" in said
    assert len(list((tmp_path / "kept").iterdir())) == 2


def test_loads_at_the_same_time_do_not_share_workers(tmp_path: Path, receiver: str) -> None:
    folders = [tmp_path / "one", tmp_path / "other"]
    for folder in folders:
        folder.mkdir()
    programs = [
        load(receiver, "--duration", "2", "--processes", "2", "--ledger", "kept", directory=folder)
        for folder in folders
    ]
    for program, folder in zip(programs, folders, strict=True):
        with program:
            said, _ = program.communicate(timeout=120)
        assert program.returncode == 0, said
        assert "200 of 200" in said
        assert len(list((folder / "kept").iterdir())) == 2


def test_a_load_that_the_run_time_ends_is_incomplete_and_says_so_in_words(tmp_path: Path, receiver: str) -> None:
    done = locust(tmp_path, CALLBACKS.format(url=receiver).replace("100, 2", "100, 60"), "--run-time", "3s")
    assert done.returncode != 0
    [line] = [line for line in done.stderr.splitlines() if "did not finish" in line]
    assert line.endswith(".ledger: it was interrupted")


def test_the_command_shows_the_page_of_locust_and_ends_by_itself(tmp_path: Path, receiver: str) -> None:
    port = free_port()
    arguments = ("--duration", "2", "--processes", "2", "--web-port", str(port))
    with load(receiver, *arguments, directory=tmp_path) as program:
        said, _ = program.communicate(timeout=120)
    assert program.returncode == 0, said
    assert f"127.0.0.1:{port}" in said
    assert "200 of 200" in said


def test_the_states_are_judged_when_all_parts_have_ended(tmp_path: Path) -> None:
    """The receiver forgets the effect of one message, after its 200."""
    states: dict[str, dict[str, int]] = {}
    forgotten: list[str] = []
    app = flask.Flask("shop")

    @app.post("/engagelab")
    def callback() -> str:
        for row in flask.request.get_json()["rows"]:
            state = states.setdefault(row["message_id"], {"credits": 0, "callbacks": 0})
            state["callbacks"] += 1
            # Not one of the first ten, of which the parts learn: a part of 25 may end before the other begins.
            if len(states) > 40 and not forgotten and row["status"]["message_status"] == "verified":
                forgotten.append(row["message_id"])
            elif row["status"]["message_status"] == "verified":
                state["credits"] = 1
        return ""

    @app.get("/state/<message_id>")
    def state(message_id: str) -> Any:
        return states.get(message_id) or ("", 404)

    with LoopbackServer(app) as server:
        observe = ("--observe", f"{server.url}/state/{{message_id}}", "--effect", "credits=verified", "--settle", "0")
        url = f"{server.url}/engagelab"
        with load(url, "--duration", "2", "--processes", "2", *observe, directory=tmp_path) as program:
            said, _ = program.communicate(timeout=120)
    assert program.returncode == 1, said
    assert len(forgotten) == 1
    assert f"{forgotten[0]} (verified)" in said


def test_a_run_with_a_killed_worker_is_incomplete(tmp_path: Path, receiver: str) -> None:
    with load(receiver, "--duration", "8", "--processes", "2", "--ledger", "kept", directory=tmp_path) as program:
        ends = time.monotonic() + 60
        while time.monotonic() < ends and len(list(tmp_path.glob("kept/*.ledger"))) < 2:
            time.sleep(0.05)  # until both parts have begun
        [part] = part_processes("1/2", tmp_path)
        os.kill(part, signal.SIGKILL)
        said, _ = program.communicate(timeout=120)
    assert program.returncode == 2, said
    assert "incomplete" in said
    assert "no end marker" in said


def part_processes(part: str, directory: Path) -> list[int]:
    """Return the ids of the processes that send a part, with their ledger in a folder."""
    if not Path("/proc").is_dir():
        pytest.skip("there is no /proc to find the process in")
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            here = (process / "cwd").resolve() == directory.resolve()
        except OSError:
            continue
        if here and part.encode() in words:
            found.append(int(process.name))
    return found


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--master", "--worker"], "leave out one of them"),
        (["--processes", "2", "--part", "1/2"], "Locust gives each worker its part"),
        (["--processes", "2", "--until-it-breaks"], "cannot double their rate together"),
        (["--processes", "2", "--ledger", __file__], "name a folder"),
    ],
)
def test_options_that_contradict_each_other(tmp_path: Path, receiver: str, arguments: list[str], said: str) -> None:
    with load(receiver, "--duration", "1", *arguments, directory=tmp_path) as program:
        out, _ = program.communicate(timeout=60)
    assert program.returncode == 2
    assert said in out


@contextmanager
def login_app() -> Iterator[tuple[str, str]]:
    """Serve an app with a login, and the API that it uses; yield the addresses of both."""
    app = flask.Flask("shop")
    with (
        EngageLab(Receiver.recording(), seed=1) as engagelab,
        ApiServer(engagelab) as mock,
        LoopbackServer(app) as server,
    ):
        import requests as http

        @app.post("/login")
        def ask() -> dict[str, str]:
            body = {"to": flask.request.get_json()["to"], "template": {"id": "login"}}
            answer = http.post(f"{mock.base_url}/messages", json=body, auth=("key", "secret"), timeout=10)
            return {"message_id": answer.json()["message_id"]}

        @app.post("/login/code")
        def enter() -> dict[str, bool]:
            given = flask.request.get_json()
            body = {"message_id": given["message_id"], "verify_code": given["code"]}
            answer = http.post(f"{mock.base_url}/verifications", json=body, auth=("key", "secret"), timeout=10)
            return {"in": answer.json()["verified"]}

        yield server.url, mock.url


@pytest.mark.parametrize("processes", [1, 2])
def test_users_log_in_through_the_app(tmp_path: Path, processes: int) -> None:
    """No number is used twice, or the second message to it would be refused."""
    arguments = ["--run-time", "4s", "--users", str(processes)]
    arguments += ["--processes", str(processes)] if processes > 1 else []
    with login_app() as (app, mock):
        done = locust(tmp_path, LOGIN.format(app=app, mock=mock), *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    counted = requests(done.stdout + done.stderr)
    assert set(counted) == {"login", "/login", "/login/code", "/_mock/inbox"}
    assert all(count and not failed for count, failed in counted.values())


def test_the_logins_of_the_guide_are_right(tmp_path: Path) -> None:
    [file] = [block for block in blocks("docs/howto/load", "python") if block.startswith("# login.py")]
    with login_app() as (app, mock):
        file = file.replace("http://127.0.0.1:5000", app).replace("http://127.0.0.1:8420", mock)
        done = locust(tmp_path, file, "--run-time", "3s")
    assert done.returncode == 0, done.stdout + done.stderr
    assert requests(done.stdout + done.stderr)["login"][1] == 0


def test_a_login_that_the_end_of_the_test_cuts_off_is_not_counted(tmp_path: Path) -> None:
    file = """
        import gevent
        from engagelab_mock.integrations.locust import OtpLogin

        class Login(OtpLogin):
            host = "http://127.0.0.1:1"

            def ask(self, to):
                gevent.sleep(1000)
    """
    done = locust(tmp_path, file, "--run-time", "2s")
    assert done.returncode == 0, done.stdout + done.stderr
    assert requests(done.stdout + done.stderr) == {}


def test_a_login_without_its_methods_says_what_to_override(tmp_path: Path) -> None:
    file = """
        from engagelab_mock.integrations.locust import OtpLogin

        class Login(OtpLogin):
            host = "http://127.0.0.1:1"
    """
    done = locust(tmp_path, file, "--run-time", "1s")
    assert done.returncode != 0
    assert "override ask(self, to)" in done.stdout + done.stderr


def test_the_examples_of_the_module_are_true() -> None:
    code = "import doctest, engagelab_mock.integrations.locust as each; print(doctest.testmod(each))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert re.fullmatch(r"TestResults\(failed=0, attempted=[1-9]\d*\)\n", done.stdout), done.stdout + done.stderr
