"""The sides that are compared: in process, and behind servers. What comes of each case on a side.

`python -m tests.real.differential.sides DESCRIPTOR SIDE DIRECTORY` serves until its standard input ends.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from engagelab_mock import Attempt, EngageLab, Outcome, Receiver, Run
from tests.real.differential.asgi_apps import asgi_app
from tests.real.differential.cases import CASES, PATIENCE, Case, Notes
from tests.real.differential.wsgi_apps import wsgi_app
from tests.real.stacks.process import await_answer, serving
from tests.real.stacks.servers import Serve, gunicorn, hypercorn, serve_with_parent, uvicorn, waitress

#: Each server, with the apps that it serves.
SERVERS: dict[str, tuple[Callable[[Path], Any], Serve]] = {
    "gunicorn gthread": (wsgi_app, gunicorn(worker_class="gthread", threads=8)),
    "waitress": (wsgi_app, waitress),
    "uvicorn": (asgi_app, uvicorn("auto")),
    "hypercorn": (asgi_app, hypercorn),
}
#: The verbs that call an app in process, and the two kinds of apps.
IN_PROCESS = [f"{kind}, {verb}" for kind in ("WSGI", "ASGI") for verb in ("send", "asend")]
#: How long to wait for what some side never does, in seconds.
_NEVER = 1.0
#: What was measured, by side and case.
TABLE = Path(__file__).with_name("table.json")


class Cell(msgspec.Struct, frozen=True):
    """The result of a case: the outcome of each attempt, and the actions of the app."""

    outcomes: list[str]
    state: list[str]


def stored() -> dict[str, dict[str, Cell]]:
    """Return the stored results."""
    sides: dict[str, dict[str, Cell]] = msgspec.convert(
        msgspec.json.decode(TABLE.read_bytes())["sides"], dict[str, dict[str, Cell]]
    )
    return sides


def store(table: dict[str, dict[str, Cell]]) -> None:
    """Write the results, and the words of each case for the documentation."""
    cases = {name: {"does": case.does, "reason": case.reason} for name, case in CASES.items()}
    text = msgspec.json.format(msgspec.json.encode({"cases": cases, "sides": table}), indent=1)
    TABLE.write_bytes(text + b"\n")


@contextmanager
def receivers(side: str, directory: Path) -> Iterator[Callable[[str], Receiver]]:
    """Yield a function that returns the receiver of a case."""
    if side in SERVERS:
        with serving("tests.real.differential.sides", [side, str(directory)], directory) as url:
            await_answer(Receiver.http(f"{url}/plain", limit=PATIENCE), directory)
            (directory / "plain").unlink()
            yield lambda case: Receiver.http(f"{url}/{CASES[case].path or case}", limit=CASES[case].limit)
    elif side.startswith("WSGI"):
        yield lambda case: Receiver.wsgi(wsgi_app(directory), CASES[case].path or case, limit=CASES[case].limit)
    else:
        yield lambda case: Receiver.asgi(asgi_app(directory), CASES[case].path or case, limit=CASES[case].limit)


def measure(side: str, directory: Path) -> dict[str, Cell]:
    """Send the callbacks of every case, several cases at once, and return the result of each."""
    with receivers(side, directory) as receiver_for, ThreadPoolExecutor(6) as pool:
        return dict(
            zip(CASES, pool.map(lambda name: _measure(side, name, receiver_for(name), directory), CASES), strict=True)
        )


def _measure(side: str, name: str, receiver: Receiver, directory: Path) -> Cell:
    case, notes = CASES[name], Notes(directory / name)
    with EngageLab(receiver) as engagelab:
        run = _send(engagelab, case, awaits=side.endswith("asend"), notes=notes)
        _await_end(notes, case)
    state = [line for line in notes.read() if line not in {"begin", "end"}]
    return Cell([_outcome(attempt) for delivery in run.deliveries for attempt in delivery.attempts], state)


def _outcome(attempt: Attempt) -> str:
    answered = attempt.outcome in {Outcome.NOT_200, Outcome.REDIRECT} and attempt.response is not None
    return f"{attempt.outcome} {attempt.response.status}" if answered and attempt.response else str(attempt.outcome)


def _send(engagelab: EngageLab, case: Case, *, awaits: bool, notes: Notes) -> Run:
    options: dict[str, Any] = {
        "scenario": [*case.scenario],
        "retry": [*case.retry],
        "fault": case.fault or None,
        "check": False,
        "custom_args": {"text": "x" * case.size},
    }
    if not awaits:
        return engagelab.send("+6591234567", **options)

    async def send() -> Run:
        run = await engagelab.asend("+6591234567", **options)
        await asyncio.to_thread(_await_end, notes, case)  # while the loop still runs
        return run

    return asyncio.run(send())


def _await_end(notes: Notes, case: Case) -> None:
    """Wait until the app has done all it does: behind a server, it works on after the sender has its answer."""
    deadline = time.monotonic() + PATIENCE
    none = time.monotonic() + _NEVER
    while time.monotonic() < deadline:
        lines = notes.read()
        if lines.count("end") == max(case.calls, lines.count("begin")):
            return
        if not lines and time.monotonic() > none:
            return  # some servers do not call the app for half a body
        time.sleep(0.01)


if __name__ == "__main__":
    descriptor, name, folder = sys.argv[1:]
    make, serve = SERVERS[name]
    serve_with_parent(serve, make(Path(folder)), descriptor)
