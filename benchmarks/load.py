"""L1: signed callbacks a second that one process of `load` makes, next to Locust's FastHttpUser and wrk."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from benchmarks import subject
from benchmarks.http_delivery import cores, lua, median_ratio, pinned, receiver_on
from benchmarks.peers import why_missing
from benchmarks.row import Row
from benchmarks.timing import Effort, collector_off
from engagelab_mock import Generator, Receiver
from engagelab_mock.delivery.transport.http import HttpTransport
from engagelab_mock.eventloop import stopwatch

#: How many connections each client has.
CONNECTIONS = 16
#: A rate that no client makes.
TOO_MANY = 200_000
#: How many times the seconds of other clients each client has, and the least seconds in which Locust starts at all.
_SECONDS, _LEAST = 3, 4


def measure(effort: Effort) -> Iterator[Row]:
    """Let each client in turn send as many as it can, to a receiver on another core.

    Ours makes each callback from the data of a new message, signs it, judges the answer and enters it in a ledger.
    FastHttpUser signs one fixed body; wrk sends one fixed callback.
    """
    missing = why_missing("hdrh", "httptools", "uvloop")
    if missing:
        yield _row("Locust's FastHttpUser, signed", 6, [], [], missing)
        yield _row(f"wrk -t1 -c{CONNECTIONS}", 0.45, [], [], missing)
        return
    client_core, receiver_core = cores()
    with receiver_on(receiver_core, many=True) as url, pinned(client_core), collector_off():
        rates = _rates(effort, url)
    ours = rates["engagelab_mock"]
    context = {f"{name}_per_second": statistics.median(figures) for name, figures in rates.items()}
    locust, wrk = rates.get("locust", []), rates.get("wrk", [])
    yield _row("Locust's FastHttpUser, signed", 6, ours, locust, why_locust_is_missing(), context)
    yield _row(f"wrk -t1 -c{CONNECTIONS}", 0.45, ours, wrk, "" if wrk else "wrk is not installed", context)


def _row(
    peer: str,
    budget: float,
    ours: list[float],
    theirs: list[float],
    missing: str,
    context: dict[str, float] | None = None,
) -> Row:
    return Row(
        goal="L1",
        what=f"callbacks per second of a load / {peer}",
        value=median_ratio(ours, theirs) if theirs else None,
        budget=budget,
        sense="at least",
        context=context or {},
        missing="" if theirs else missing,
    )


def why_locust_is_missing() -> str:
    """Say why Locust cannot run; it is not imported here, because it changes the sockets of the process."""
    found = subprocess.run([sys.executable, "-m", "locust", "--version"], capture_output=True, text=True)
    return "" if found.returncode == 0 else "locust is not installed"


def _rates(effort: Effort, url: str) -> dict[str, list[float]]:
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        clients: dict[str, Callable[[], float]] = {"engagelab_mock": lambda: _ours(effort.seconds * _SECONDS, url)}
        if not why_locust_is_missing():
            clients["locust"] = lambda: _locust(effort.seconds * _SECONDS, url)
        if shutil.which("wrk"):
            script = directory / "callback.lua"
            receiver = Receiver.http(url, username=subject.USERNAME, secret=subject.SECRET)
            script.write_text(lua(subject.signed_callback(receiver)), encoding="utf-8")
            clients["wrk"] = lambda: _wrk(effort.seconds * _SECONDS, url, script)
        rates: dict[str, list[float]] = {name: [] for name in clients}
        for _ in range(effort.http_rounds):
            for name, client in clients.items():
                rates[name].append(client())
        return rates


def _ours(seconds: float, url: str) -> float:
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_load(seconds, url))


async def _load(seconds: float, url: str) -> float:
    from engagelab_mock.load.ledger import Header, LedgerWriter
    from engagelab_mock.load.plan import Plan, segments
    from engagelab_mock.load.sender import LoadSender

    receiver = Receiver.http(url, username=subject.USERNAME, secret=subject.SECRET, limit=None)
    with tempfile.TemporaryDirectory() as directory:
        header = Header(run="benchmark", url=url, started=time.time())
        with LedgerWriter(Path(directory, "ledger"), header) as ledger:
            started = stopwatch()
            assert isinstance(receiver.transport, HttpTransport)
            sender = LoadSender(
                receiver,
                receiver.transport,
                ledger,
                nonces=Generator.seeded(0),
                started=started,
                max_lateness=0.01,
                connections=CONNECTIONS,
            )
            # A delay between the callbacks of a message longer than the run would make each a new message.
            plan = Plan({"verified": 8, "fallback": 1}, segments(TOO_MANY, seconds), spacing=0.01)
            await sender.send(plan)
            elapsed = stopwatch() - started
            await sender.close()
            assert sender.counts.failed == 0, sender.counts
            return sender.counts.ended / elapsed


def _locust(seconds: float, url: str) -> float:
    """Return the rate that Locust counted, in a process of its own."""
    command = [sys.executable, "-m", "locust", "-f", str(Path(__file__).with_name("load_locust.py"))]
    command += ["--headless", "--only-summary", "--json", "--loglevel", "ERROR", "--host", url]
    command += ["--users", str(CONNECTIONS), "--spawn-rate", str(CONNECTIONS)]
    command += ["--run-time", f"{max(_LEAST, round(seconds))}s"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parent.parent)
    [counted] = json.loads(done.stdout)
    assert counted["num_failures"] == 0, counted
    return float(counted["num_requests"] / (counted["last_request_timestamp"] - counted["start_time"]))


def _wrk(seconds: float, url: str, script: Path) -> float:
    """Return wrk's own rate; it takes whole seconds only."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s", "-s", str(script), url]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    counted = re.search(r"Requests/sec:\s+([\d.]+)", output)
    if counted is None or "Non-2xx" in output:
        raise RuntimeError(f"wrk was not answered as it should be: {output}")
    return float(counted[1])
