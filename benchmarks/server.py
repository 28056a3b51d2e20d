"""S1 to S4: `serve` with many clients, compared with the servers of its peers, and how it starts and stops."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import perf_counter

from benchmarks.crowd_client import Load, load, post
from benchmarks.http_delivery import receiver_on
from benchmarks.row import Row
from benchmarks.timing import Effort

#: How many clients there are at once.
CLIENTS = 100
#: The call that sends a code.
SEND = post(
    "/v1/messages",
    b'{"to": "+65########", "template": {"id": "tpl"}}',
    Authorization="Basic a2V5OnNlY3JldA==",
    Content_Type="application/json",
)
#: What is nearest to sending a code, at AWS: one text message.
_PUBLISH = post(
    "/",
    b"Action=Publish&PhoneNumber=%2B65########&Message=Your+code+is+123456&Version=2010-03-31",
    Authorization="AWS4-HMAC-SHA256 Credential=k/20240101/us-east-1/sns/aws4_request, SignedHeaders=host, Signature=0",
    Content_Type="application/x-www-form-urlencoded",
)
_HTTPSERVER = """
import sys, time
from pytest_httpserver import HTTPServer
server = HTTPServer(port=int(sys.argv[1]), threaded=True)
server.expect_request("/v1/messages", method="POST").respond_with_json({"message_id": "1", "send_channel": "sms"})
server.start()
while True:
    server.log.clear()
    time.sleep(1)
"""


#: The servers that are compared with ours, and their nearest equivalent of `POST /v1/messages`.
_PEERS = {"httpserver": "pytest-httpserver's canned answer", "moto": "moto's SNS Publish"}
#: What is measured of ours: planned callbacks go to no receiver, or to one that acknowledges them.
_OURS = {"engagelab_mock": "", "with_callbacks": " while callbacks go out"}


def throughput(effort: Effort) -> Iterator[Row]:
    """Let the clients send to each server in turn. They keep their connections open if the server does.

    The canned answer shows the cost of a server that does nothing; moto does something comparable.
    """
    loads = _loads(effort)
    context: dict[str, float] = {}
    for name, met in loads.items():
        context[f"{name}_per_second"] = statistics.median(each.rate for each in met)
        context[f"{name}_p50_ms"] = statistics.median(each.quantile(0.5) for each in met) * 1e3
        context[f"{name}_p99_ms"] = statistics.median(each.quantile(0.99) for each in met) * 1e3
        context[f"{name}_errors"] = float(sum(each.errors for each in met))
    for peer in [name for name in _PEERS if name in loads]:
        for ours, when in _OURS.items():
            yield Row(
                goal="S1",
                what=f"POST /v1/messages per second, {CLIENTS} clients{when} / {_PEERS[peer]}",
                value=_median_ratio(loads[ours], loads[peer], lambda load: load.rate),
                budget=2,
                sense="at least",
                context=context,
            )
            yield Row(
                goal="S1",
                what=f"its p99, {CLIENTS} clients{when} / {_PEERS[peer]}",
                value=_median_ratio(loads[ours], loads[peer], lambda load: load.quantile(0.99)),
                budget=1,
                context=context,
            )


def _loads(effort: Effort) -> dict[str, list[Load]]:
    """Return what each server met in each round, without the peers that do not run here."""
    installed = [name for name in _PEERS if name != "moto" or importlib.util.find_spec("moto") is not None]
    loads: dict[str, list[Load]] = {name: [] for name in (*_OURS, *installed)}
    for _ in range(effort.http_rounds):
        for name in tuple(loads):
            try:
                loads[name].append(_load_of(name, effort.crowd_seconds))
            except RuntimeError as error:
                if name in _OURS:
                    raise
                print(f"{_PEERS[name]} is not measured: {error}", file=sys.stderr)
                del loads[name]
    return loads


def _median_ratio(ours: list[Load], theirs: list[Load], figure: Callable[[Load], float]) -> float:
    """Return the median of the ratios, each between two values of the same round."""
    return statistics.median(figure(one) / figure(other) for one, other in zip(ours, theirs, strict=True))


def endurance(effort: Effort) -> Iterator[Row]:
    """Load one server for longer, weigh it after a third and at the end, and count what went wrong.

    The system's figure for a process varies by a MiB. Only compared with the requests of a full run is that little.
    """
    with serving("--keep", "1000", "--speed", "1000") as (process, port):
        warm = load(port, SEND, clients=CLIENTS, seconds=effort.endurance_seconds / 3)
        halfway = _resident(process.pid)
        second = load(port, SEND, clients=CLIENTS, seconds=effort.endurance_seconds * 2 / 3)
        end = _resident(process.pid)
    requests = len(second.taken)
    context = {
        "requests": float(len(warm.taken) + requests),
        "halfway_mib": halfway / 2**20,
        "end_mib": end / 2**20,
        "per_second": second.rate,
        "p99_ms": second.quantile(0.99) * 1e3,
    }
    yield Row(
        goal="S2",
        what=f"growth per request after a third of {effort.endurance_seconds:g} s, {CLIENTS} clients, --keep 1000",
        value=max(0.0, (end - halfway) / requests),
        budget=100,
        unit="bytes",
        context=context,
    )
    yield Row(
        goal="S2",
        what="answers that were no 200, or none",
        value=float(warm.errors + second.errors),
        budget=0.5,
        unit="errors",
        context=context,
    )


def stopping(effort: Effort) -> Iterator[Row]:
    """Time from SIGTERM to the end of an idle process."""
    taken = []
    for _ in range(effort.processes):
        with serving() as (process, _):
            time.sleep(0.05)
            started = perf_counter()
            process.send_signal(signal.SIGTERM)
            process.wait()
            taken.append(perf_counter() - started)
    yield _time_row("S3", "SIGTERM to the end of an idle serve", taken, 100)


def starting(effort: Effort) -> Iterator[Row]:
    """Time from the start of the process to the line that says where, with a store and bytecode in place."""
    taken = []
    for _ in range(effort.processes):
        started = perf_counter()
        with serving():
            taken.append(perf_counter() - started)
    yield _time_row("S4", "the start of serve to its URL", taken, 1000)


def _time_row(goal: str, what: str, taken: list[float], budget: float) -> Row:
    context = {"slowest_ms": max(taken) * 1e3, "quickest_ms": min(taken) * 1e3}
    return Row(goal=goal, what=what, value=statistics.median(taken) * 1e3, budget=budget, unit="ms", context=context)


def _load_of(name: str, seconds: float) -> Load:
    if name in _OURS:
        with ExitStack() as stack:
            callbacks: list[str] = []
            if name == "with_callbacks":
                callbacks = ["--callback-url", stack.enter_context(receiver_on(max(os.sched_getaffinity(0))))]
            _, port = stack.enter_context(serving("--speed", "1000", *callbacks))
            return load(port, SEND, clients=CLIENTS, seconds=seconds)
    port = _free_port()
    command = {
        "httpserver": [sys.executable, "-c", _HTTPSERVER, str(port)],
        "moto": [sys.executable, "-m", "moto.server", "-p", str(port)],
    }[name]
    with _process(command) as process:
        _wait_for(port, process)
        return load(port, _PUBLISH if name == "moto" else SEND, clients=CLIENTS, seconds=seconds)


@contextmanager
def serving(*arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run `serve`, and give the process and its port once the URL is there."""
    command = [sys.executable, "-m", "engagelab_mock", "serve", "--port", "0", "--format", "json", *arguments]
    with _process(command) as process:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        yield process, int(url.rpartition(":")[2])


@contextmanager
def _process(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ENGAGELAB_")}
    # From a directory without settings, and with the log thrown away, as all of them write one.
    with subprocess.Popen(
        command, env=environment, cwd="/", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with {process.returncode}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"{process.args!r} does not listen")


def _resident(pid: int) -> int:
    """Return the bytes of memory that a process occupies; 0 if the system does not tell."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return 0
    found = re.search(r"VmRSS:\s+(\d+) kB", status.read_text(encoding="utf-8"))
    return int(found[1]) * 1024 if found else 0
