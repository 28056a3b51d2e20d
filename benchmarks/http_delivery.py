"""G8: signed callbacks over one kept-alive HTTP connection, next to `requests` and, if it is installed, wrk."""

from __future__ import annotations

import math
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import perf_counter

from benchmarks import subject
from benchmarks.peers import why_missing
from benchmarks.row import Row
from benchmarks.timing import Effort, collector_off
from engagelab_mock import Callback, Journal, Receiver


def measure(effort: Effort) -> Iterator[Row]:
    """Let each client in turn send for a moment, to a receiver on another core. The budgets are for that.

    Between two cores a request waits for an idle core to wake up, twice, which can take longer than the work and makes
    all clients look alike. The context has the rates on one core as well, where none of them waits.
    wrk and `requests` send one fixed callback; ours makes and signs a new one each time, and keeps it in its journal.
    """
    client_core, receiver_core = cores()
    rates = _rates(effort, client_core, receiver_core)
    shared = _rates(effort, client_core, client_core)
    context = {f"{name}_per_second": statistics.median(figures) for name, figures in rates.items()}
    context |= {f"{name}_per_second_on_one_core": statistics.median(figures) for name, figures in shared.items()}
    yield Row(
        goal="G8",
        what="signed callbacks per second over HTTP / requests.Session",
        value=median_ratio(rates["engagelab_mock"], rates["requests"]) if "requests" in rates else None,
        budget=3,
        sense="at least",
        context=context,
        missing=why_missing("requests"),
    )
    yield Row(
        goal="G8",
        what="signed callbacks per second over HTTP / wrk -t1 -c1",
        value=median_ratio(rates["engagelab_mock"], rates["wrk"]) if "wrk" in rates else None,
        budget=0.35,
        sense="at least",
        context=context,
        missing="" if "wrk" in rates else "wrk is not installed",
    )


def _rates(effort: Effort, client_core: int, receiver_core: int) -> dict[str, list[float]]:
    with receiver_on(receiver_core) as url, pinned(client_core), collector_off():
        return _rates_of_clients(effort, url)


def _rates_of_clients(effort: Effort, url: str) -> dict[str, list[float]]:
    receiver = Receiver.http(url, username=subject.USERNAME, secret=subject.SECRET)
    journal = Journal()
    sender, events = subject.sender(journal), (subject.event(),)
    callback = subject.signed_callback(receiver)
    headers = dict(callback.headers)
    clients: dict[str, Callable[[], float]] = {
        "engagelab_mock": lambda: _rate(effort.seconds, lambda: subject.deliver(sender, receiver, events)),
    }
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        if not why_missing("requests"):
            import requests

            session = stack.enter_context(requests.Session())
            clients["requests"] = lambda: _rate(
                effort.seconds, lambda: session.post(url, data=callback.body, headers=headers)
            )
        if shutil.which("wrk"):
            script = Path(directory) / "callback.lua"
            script.write_text(lua(callback), encoding="utf-8")
            clients["wrk"] = lambda: _wrk(effort.seconds, url, script)
        rates: dict[str, list[float]] = {name: [] for name in clients}
        for _ in range(effort.http_rounds):
            for name, client in clients.items():
                rates[name].append(client())
                journal.clear()
    assert subject.deliver(sender, receiver, events).acknowledged
    receiver.close()
    return rates


def median_ratio(measured: Sequence[float], reference: Sequence[float]) -> float:
    """Return the median of the ratios of rates taken in the same round."""
    return statistics.median(one / other for one, other in zip(measured, reference, strict=True))


def _rate(seconds: float, send: Callable[[], object]) -> float:
    send()
    sent, started = 0, perf_counter()
    while perf_counter() - started < seconds:
        send()
        sent += 1
    return sent / (perf_counter() - started)


def _wrk(seconds: float, url: str, script: Path) -> float:
    """Return wrk's own rate; it takes whole seconds only."""
    command = ["wrk", "-t1", "-c1", f"-d{math.ceil(seconds)}s", "-s", str(script), url]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    counted = re.search(r"Requests/sec:\s+([\d.]+)", output)
    if counted is None or "Non-2xx" in output:
        raise RuntimeError(f"wrk was not answered as it should be: {output}")
    return float(counted[1])


def lua(callback: Callback) -> str:
    """Return wrk's script that sends a callback."""
    headers = "".join(f'wrk.headers["{name}"] = "{value}"\n' for name, value in callback.headers.pairs)
    return f'wrk.method = "POST"\nwrk.body = [[{callback.body.decode()}]]\n{headers}'


@contextmanager
def receiver_on(core: int, *, many: bool = False) -> Iterator[str]:
    """Run a receiver that acknowledges everything, and give its URL; with `many`, it is made for many connections."""
    command = [sys.executable, "-m", "benchmarks.http_receiver", str(core), *(["many"] if many else [])]
    root = Path(__file__).parent.parent
    with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}{subject.PATH}"
        process.stdin.close()


def cores() -> tuple[int, int]:
    """Return a core for the client and one for the receiver; the same if there is only one."""
    available = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
    return available[0], available[-1]


@contextmanager
def pinned(core: int) -> Iterator[None]:
    """Keep this process and its children on one core."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
