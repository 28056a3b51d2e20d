"""Users for Locust: callbacks on an open model with a ledger, and logins through the app under test.

Locust distributes them over processes and machines, and its web page shows them. Locust itself sends no callback: each
worker starts one `engagelab-mock load` for its part, and reads the ledger as it grows.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import secrets
import signal
import sys
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import gevent
import msgspec
from gevent import subprocess
from locust import FastHttpUser, User, constant_throughput, events, task
from locust.env import Environment
from locust.runners import MasterRunner, Runner, WorkerRunner

from engagelab_mock.delivery.outcome import Outcome
from engagelab_mock.errors import UsageError
from engagelab_mock.eventloop import stopwatch
from engagelab_mock.integrations.locust_stats import entry_of, use_histograms
from engagelab_mock.load.ledger import Entry

_LOG = logging.getLogger(__name__)

#: The messages of the master to its workers, and back.
_PART, _ENDED = "engagelab-part", "engagelab-ended"
#: What Locust shows as the method of callbacks.
_METHOD = "CALLBACK"
#: How often the ledger is read, in seconds.
_INTERVAL = 0.2


class EngageLabUser(User):
    """Send signed callbacks to a receiver at a rate, whatever it answers, and keep a ledger.

    Set `host` to the receiver's URL, and the other attributes to the options of `engagelab-mock load`:

        class Callbacks(EngageLabUser):
            host = "http://127.0.0.1:5000/engagelab"
            username, secret = "acme", "s3cret"
            rate, duration = 500, 60

    `rate` is that of all workers together. One user of this class is enough: every worker sends its part.
    """

    abstract = True
    fixed_count = 1

    username: ClassVar[str] = ""
    secret: ClassVar[str] = ""
    authorization: ClassVar[str] = ""
    #: Callbacks a second, and for how many seconds.
    rate: ClassVar[float] = 100.0
    duration: ClassVar[float] = 60.0
    #: The share of each scenario.
    mix: ClassVar[Mapping[str, float]] = {"verified": 1}
    #: The folder of the ledgers: one file for each worker.
    ledgers: ClassVar[str] = "ledgers"
    #: More options of `engagelab-mock load`, such as ("--duplicates", "0.01").
    options: ClassVar[tuple[str, ...]] = ()

    @task
    def wait(self) -> None:
        """Do nothing: the load runs in a process of its own."""
        gevent.sleep(1)

    @classmethod
    def command(cls, part: int, parts: int, run: str, ledger: Path) -> tuple[list[str], dict[str, str]]:
        """Return the command line of one part, and the environment that has its secrets.

        Raises `UsageError` if the class has no `host`.
        """
        if not cls.host:
            hint = 'host = "http://127.0.0.1:5000/engagelab"'
            raise UsageError("the class has no host: the URL of the receiver", where=cls.__name__, hint=hint)
        mix = ",".join(f"{name}={share:g}" for name, share in cls.mix.items())
        command = [sys.executable, "-m", "engagelab_mock", "load", cls.host, "--format", "json"]
        command += ["--rate", f"{cls.rate:g}", "--duration", f"{cls.duration:g}", "--mix", mix, "--seed", run]
        command += ["--part", f"{part + 1}/{parts}", "--ledger", str(ledger), *cls.options]
        given = {
            "ENGAGELAB_WEBHOOK_USERNAME": cls.username,
            "ENGAGELAB_WEBHOOK_SECRET": cls.secret,
            "ENGAGELAB_MOCK_AUTHORIZATION": cls.authorization,
        }
        return command, {**os.environ, **{name: value for name, value in given.items() if value}}


class Part:
    """Run one part of a load, and report each of its deliveries to Locust as it appears in the ledger."""

    def __init__(self, user: type[EngageLabUser], environment: Environment, part: int, parts: int, run: str) -> None:
        self._environment = environment
        self._user = user
        folder = Path(user.ledgers)
        folder.mkdir(parents=True, exist_ok=True)
        self.ledger = folder / f"{run}-{user.__name__}-{part + 1}.ledger"
        command, given = user.command(part, parts, run, self.ledger)
        self._process = subprocess.Popen(
            command, env=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, preexec_fn=_end_with_parent
        )
        self._output = gevent.spawn(self._process.stdout.read)
        self.reader = gevent.spawn(self._report)

    def stop(self) -> None:
        """End the load as Ctrl-C does, and wait for the end marker of its ledger."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        self.reader.join()

    def _report(self) -> None:
        """Report the deliveries until the load has ended."""
        lines, finished = self._lines(), False
        while True:
            ended = self._process.poll() is not None
            for line in iter(lambda: next(lines), None):
                if line.startswith(b"["):
                    self._fire(msgspec.json.decode(line, type=Entry))
                finished = finished or line.startswith(b'{"type":"end","reason":"finished"')
            if ended:
                break
            gevent.sleep(_INTERVAL)
        if not finished:
            what = f"its part of the load did not finish: {_reason(self._output.get().decode('utf-8', 'replace'))}"
            _LOG.error("%s", what)
            self._environment.events.user_error.fire(user_instance=None, exception=RuntimeError(what), tb=None)

    def _lines(self) -> Iterator[bytes | None]:
        """Yield the whole lines of the ledger that are there, and None while there is none."""
        while not self.ledger.exists():
            yield None
        with self.ledger.open("rb") as file:
            rest = b""
            while True:
                rest += file.readline()
                if rest.endswith(b"\n"):
                    yield rest
                    rest = b""
                else:
                    yield None

    def _fire(self, entry: Entry) -> None:
        good = entry.outcome == Outcome.ACKNOWLEDGED
        entry_of(self._environment.stats, entry.status, _METHOD)
        self._environment.events.request.fire(
            request_type=_METHOD,
            name=entry.status,
            # The time of a delivery with a fault is our doing. Locust counts a request without a time.
            response_time=None if entry.fault else max(0.0, entry.latency) * 1000,
            response_length=0,
            exception=None if good or entry.fault else RuntimeError(f"{entry.outcome} {entry.answer or ''}".strip()),
            context={"fault": entry.fault},
        )


def _reason(output: str) -> str:
    """Return why a load did not finish, from its last line: a summary as JSON, or an error.

    >>> _reason('{"type": "load", "problems": ["it was interrupted"]}'), _reason("Error: no ledger"), _reason("")
    ('it was interrupted', 'Error: no ledger', 'it was ended')
    """
    last = (output.strip().splitlines() or ["it was ended"])[-1]
    with suppress(ValueError, TypeError, KeyError):
        return "; ".join(json.loads(last)["problems"])
    return last


def _end_with_parent() -> None:
    """Let the load end when its worker is killed: its ledger then has no end marker that says "finished"."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class _Load:
    """The parts of the loads of one process of Locust, and on the master the parts that have not ended."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._parts: list[Part] = []
        self._open = 0
        runner = environment.runner
        assert runner is not None, "Locust makes the runner before it fires `init`"
        use_histograms(environment)
        if isinstance(runner, MasterRunner):
            environment.events.test_start.add_listener(self._distribute)
        elif not isinstance(runner, WorkerRunner):
            environment.events.test_start.add_listener(self._start_alone)
        if isinstance(runner, WorkerRunner):
            runner.register_message(_PART, self._start)
        else:
            runner.register_message(_ENDED, self._ended)
        environment.events.test_stop.add_listener(self._stop)
        environment.events.quitting.add_listener(self._stop)

    @property
    def _users(self) -> list[type[EngageLabUser]]:
        return [each for each in self._environment.user_classes if issubclass(each, EngageLabUser)]

    def _start_alone(self, **_: Any) -> None:
        self._open = len(self._users)
        self._begin(0, 1, secrets.token_hex(4))

    def _distribute(self, **_: Any) -> None:
        """Give each worker its part."""
        runner, run = self._environment.runner, secrets.token_hex(4)
        assert isinstance(runner, MasterRunner)
        workers = [each.id for each in runner.clients.all if each.state != "missing"]
        self._open = len(workers) * len(self._users)
        for part, worker in enumerate(workers):
            runner.send_message(_PART, {"part": part, "parts": len(workers), "run": run}, worker)

    def _start(self, msg: Any, **_: Any) -> None:
        self._begin(msg.data["part"], msg.data["parts"], msg.data["run"])

    def _begin(self, part: int, parts: int, run: str) -> None:
        for user in self._users:
            started = Part(user, self._environment, part, parts, run)
            self._parts.append(started)
            gevent.spawn(self._wait, started)

    def _wait(self, part: Part) -> None:
        part.reader.join()
        if self._environment.runner is not None:
            self._environment.runner.send_message(_ENDED, {"ledger": str(part.ledger)})

    def _ended(self, msg: Any, **_: Any) -> None:
        """End the test when all parts have ended, unless there are other users, too."""
        self._open -= 1
        runner = self._environment.runner
        if runner is not None and not self._open and len(self._users) == len(self._environment.user_classes):
            # From another greenlet: the runner waits for its users, and this one may be among them.
            gevent.spawn(self._finish, runner)

    def _finish(self, runner: Runner) -> None:
        """End the test as Locust does at its --run-time, of which a load has none."""
        page, options = self._environment.web_ui, self._environment.parsed_options
        if page is None:
            runner.quit()
            return
        runner.stop()
        seconds = getattr(options, "autoquit", -1)
        if seconds >= 0:
            gevent.sleep(seconds)
            runner.quit()
            page.stop()

    def _stop(self, **_: Any) -> None:
        for part in self._parts:
            part.stop()
        self._parts.clear()


@events.init.add_listener
def _set_up(environment: Environment, **_: Any) -> None:
    if any(issubclass(each, EngageLabUser) for each in environment.user_classes):
        _Load(environment)


#: How many recipients each of a hundred workers has: together Singapore's numbers that begin with 8 [?].
_RECIPIENTS = 100_000
#: A second run begins at another one.
_NUMBERS = itertools.count(secrets.randbelow(_RECIPIENTS))


class OtpLogin(FastHttpUser):
    """Log in through the app under test: ask for a code, read it at `engagelab-mock serve`, enter it.

    Set `host` to the app's URL, and override `ask` and `enter` to call it as its users do:

        class Login(OtpLogin):
            host = "http://127.0.0.1:5000"
            mock = "http://127.0.0.1:8420"

            def ask(self, to):
                return self.client.post("/login", json={"to": to}).json()["message_id"]

            def enter(self, to, code, asked):
                self.client.post("/login/code", json={"message_id": asked, "code": code})

    A whole login is reported as the request LOGIN. A user logs in once a second, or as soon as the last login has
    ended. Another `wait_time` changes that.
    """

    abstract = True
    wait_time = constant_throughput(1)
    #: The URL of `engagelab-mock serve`, its token, and how long to wait for a message, in seconds.
    mock: ClassVar[str] = "http://127.0.0.1:8420"
    token: ClassVar[str] = ""
    patience: ClassVar[float] = 10.0

    @task
    def log_in(self) -> None:
        """Log one user in. A login that Locust ends, because the test is over, is not counted."""
        to, error = self._recipient(), None
        started = stopwatch()
        try:
            asked = self.ask(to)
            self.enter(to, self.read_code(to), asked)
        except Exception as raised:
            error = raised
        self.environment.events.request.fire(
            request_type="LOGIN",
            name="login",
            response_time=(stopwatch() - started) * 1000,
            response_length=0,
            exception=error,
            context=self.context(),
        )

    def _recipient(self) -> str:
        # A second message to a number within the validity of its code would be refused. Processes are forked after the
        # import of this module, so all count from the same number.
        worker = max(0, getattr(self.environment.runner, "worker_index", 0)) % 100
        return f"+658{worker:02d}{next(_NUMBERS) % _RECIPIENTS:05d}"

    def ask(self, to: str) -> Any:
        """Let the app send a code to a number; the result is given to `enter`."""
        raise self._missing("ask(self, to)", "asks for a code")

    def enter(self, to: str, code: str, asked: Any) -> None:
        """Enter the code in the app."""
        raise self._missing("enter(self, to, code, asked)", "enters the code")

    def read_code(self, to: str) -> str:
        """Return the newest code of a number, as its phone shows it."""
        url = f"{self.mock}/_mock/inbox/{urllib.parse.quote(to)}?wait={self.patience:g}"
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        with self.client.get(url, name="/_mock/inbox", headers=headers, catch_response=True) as answer:
            code = json.loads(answer.text or "{}").get("code") if answer.status_code == 200 else None
            if not code:
                answer.failure(f"no code arrived within {self.patience:g} s")
                raise LookupError(f"no code for {to}")
            return str(code)

    def _missing(self, method: str, what: str) -> UsageError:
        hint = f"override {method}: it calls the app as a user who {what}"
        return UsageError(f"the class does not have {method}", where=type(self).__name__, hint=hint)
