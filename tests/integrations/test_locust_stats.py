"""Percentiles in Locust: on its page, in its table and files, of callbacks and of other users, in real Locust."""

from __future__ import annotations

import asyncio
import csv
import json
import re
import subprocess
import sys
import textwrap
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engagelab_mock import LoadSummary, StatusEvent
from engagelab_mock.load.ledger import LedgerReader
from engagelab_mock.load.tally import summarise
from tests.integrations.locust_process import environment, free_port, needs_locust
from tests.load.shop import Send, Shop, serving

pytestmark = [pytest.mark.slow, needs_locust]

CALLBACKS = """
    from locust import User, task
    from engagelab_mock.integrations.locust import EngageLabUser

    class Callbacks(EngageLabUser):
        host = "{url}"
        username, secret = "acme", "s3cret"
        rate, duration = 200, 2
        options = ("--timeout", "10")
"""
OTHERS = """
    class Other(User):
        fixed_count = 1

        @task
        def ask(self):
            for each in range(100):
                self.environment.events.request.fire(
                    request_type="OTHER", name="other", response_time=2964.2, response_length=0, exception=None
                )
            self.wait()

        def wait(self):
            import gevent

            gevent.sleep(1000)
"""


class SlowParts(Shop):
    """Answer one message in ten late: `sent` within less than 3 s, `delivered` within more."""

    every = 10

    async def handle(self, event: StatusEvent, send: Send) -> None:
        if self.shows_bug(event.message_id):
            await asyncio.sleep({"sent": 2.96, "delivered": 3.04}.get(event.name, 0))
        await super().handle(event, send)


@pytest.fixture
def receiver() -> Iterator[str]:
    with serving(SlowParts()) as receiver:
        yield receiver.address


def start(directory: Path, file: str, *arguments: str) -> subprocess.Popen[str]:
    (directory / "locustfile.py").write_text(textwrap.dedent(file))
    command = [sys.executable, "-m", "locust", "--only-summary", "--csv", "locust", "--html", "locust.html"]
    return subprocess.Popen(
        [*command, *arguments],
        cwd=directory,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def page(port: int, program: subprocess.Popen[str], *, requests: int) -> dict[str, Any]:
    """Return the numbers on Locust's page, once the test is over, and all workers have reported."""
    give_up = time.monotonic() + 60
    while time.monotonic() < give_up and program.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/stats/requests", timeout=10) as answer:
                found: dict[str, Any] = json.load(answer)
            if found["state"] == "stopped" and found["stats"][-1]["num_requests"] == requests:
                return found
        except (urllib.error.URLError, ConnectionError):
            pass
        time.sleep(0.1)  # until Locust listens, and the test is over
    raise AssertionError(
        f"Locust did not finish: {program.communicate(timeout=10)[0] if program.poll() is not None else ''}"
    )


def ledgers(directory: Path) -> list[Path]:
    return sorted((directory / "ledgers").iterdir())


def summary(directory: Path) -> LoadSummary:
    """Return what `load report` says of the ledgers."""
    return asyncio.run(summarise(ledgers(directory)))


def milliseconds(directory: Path, status: str, percent: float) -> float:
    """Return the exact percentile of the deliveries of a status, from the ledgers."""
    times = sorted(
        entry.latency * 1000
        for path in ledgers(directory)
        for entry in LedgerReader(path)
        if status in {entry.status, "Aggregated"}
    )
    return times[max(0, int(len(times) * percent / 100 + 0.5) - 1)]


def to_three_digits(value: float) -> Any:
    return pytest.approx(value, rel=0.001)


@pytest.mark.parametrize("processes", [1, 2])
def test_percentiles_are_those_of_the_ledgers_everywhere(tmp_path: Path, receiver: str, processes: int) -> None:
    """Locust alone reads 2,960 ms and 3,040 ms as 3,000 ms."""
    port = free_port()
    arguments = ["--users", "1", "--autostart", "--autoquit", "5", "--web-host", "127.0.0.1", "--web-port", str(port)]
    arguments += ["--processes", str(processes)] if processes > 1 else []
    with start(tmp_path, CALLBACKS.format(url=receiver), *arguments) as program:
        shown = page(port, program, requests=400)
        said, _ = program.communicate(timeout=60)
    assert program.returncode == 0, said
    assert len(ledgers(tmp_path)) == processes

    rows = {row["name"]: row for row in shown["stats"]}
    exact = {name: milliseconds(tmp_path, name, 99) for name in ("sent", "delivered", "Aggregated")}
    for name, value in exact.items():
        assert rows[name]["response_time_percentile_0.99"] == to_three_digits(value)
        assert rows[name]["median_response_time"] <= rows[name]["response_time_percentile_0.95"]
    assert exact["sent"] < exact["delivered"]
    reported = summary(tmp_path).latency
    assert rows["Aggregated"]["response_time_percentile_0.99"] == round(reported.p99 * 1000, 1)
    assert rows["Aggregated"]["median_response_time"] == round(reported.p50 * 1000, 1)
    # The row of the last seconds is a part of all.
    recent = shown["current_response_time_percentiles"]["response_time_percentile_0.95"]
    assert recent is None or recent <= rows["Aggregated"]["max_response_time"] + 1

    with (tmp_path / "locust_stats.csv").open() as file:
        written = {row["Name"]: row for row in csv.DictReader(file)}
    assert {name: float(written[name]["99%"]) for name in exact} == {
        name: pytest.approx(value, rel=0.001) for name, value in exact.items()
    }
    for name in exact:
        [line] = re.findall(rf"^(?:CALLBACK)? +{name} +((?:\d+ +)+\d+)$", said, re.MULTILINE)
        assert int(line.split()[7]) == int(rows[name]["response_time_percentile_0.99"])
    report = (tmp_path / "locust.html").read_text()
    for name in exact:
        assert f'"0.99": {rows[name]["response_time_percentile_0.99"]}' in report


def test_the_rows_of_other_users_are_those_of_locust(tmp_path: Path, receiver: str) -> None:
    port = free_port()
    arguments = ["--users", "2", "--autostart", "--run-time", "8", "--autoquit", "5", "--processes", "2"]
    arguments += ["--web-host", "127.0.0.1", "--web-port", str(port)]
    with start(tmp_path, CALLBACKS.format(url=receiver) + OTHERS, *arguments) as program:
        shown = page(port, program, requests=500)
        said, _ = program.communicate(timeout=60)
    assert program.returncode == 0, said
    rows = {row["name"]: row for row in shown["stats"]}
    assert rows["other"]["num_requests"] == 100
    assert rows["other"]["response_time_percentile_0.99"] == 3000
    assert rows["sent"]["response_time_percentile_0.99"] == to_three_digits(milliseconds(tmp_path, "sent", 99))
    # All requests together: 400 callbacks, of which 20 are slow, and 100 requests of 2,964 ms.
    assert rows["Aggregated"]["response_time_percentile_0.95"] == to_three_digits(2964.2)


def test_a_run_without_callbacks_is_untouched(tmp_path: Path) -> None:
    file = "from locust import User, task\nfrom engagelab_mock.integrations.locust import EngageLabUser\n"
    with start(tmp_path, file + textwrap.dedent(OTHERS), "--headless", "--run-time", "3") as program:
        said, _ = program.communicate(timeout=60)
    assert program.returncode == 0, said
    with (tmp_path / "locust_stats.csv").open() as file_:
        written = {row["Name"]: row for row in csv.DictReader(file_)}
    assert {written[name]["99%"] for name in ("other", "Aggregated")} == {"3000"}


def test_a_delivery_with_a_fault_has_no_time(tmp_path: Path, receiver: str) -> None:
    """`load report` leaves it out of the latency, because the fault is the sender's doing."""
    file = CALLBACKS.format(url=receiver).replace('"10")', '"10", "--faults", "slow_body=0.3")')
    port = free_port()
    arguments = ["--users", "1", "--autostart", "--autoquit", "5", "--web-host", "127.0.0.1", "--web-port", str(port)]
    with start(tmp_path, file, *arguments) as program:
        shown = page(port, program, requests=400)
        said, _ = program.communicate(timeout=60)
    assert program.returncode == 0, said
    total, reported = shown["stats"][-1], summary(tmp_path)
    assert sum(reported.faults.values())
    assert total["response_time_percentile_0.99"] == round(reported.latency.p99 * 1000, 1)
    assert total["max_response_time"] == round(reported.latency.maximum * 1000)


def test_the_examples_of_the_module_are_true() -> None:
    code = "import doctest, engagelab_mock.integrations.locust_stats as each; print(doctest.testmod(each))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert re.fullmatch(r"TestResults\(failed=0, attempted=[1-9]\d*\)\n", done.stdout), done.stdout + done.stderr
