"""E1, E2, E4: the cost of exploring a Flask app: next to its bare calls, with states merged, and in two workers."""

from __future__ import annotations

import os
import resource
import tempfile
from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from tests.receivers.gallery.flask_stack import FlaskShop
from tests.receivers.gallery.orders import PATH, SECRET, USERNAME
from tests.receivers.gallery.sqlite import SqliteLedger

from benchmarks.row import Row
from benchmarks.timing import Effort, interleaved
from engagelab_mock import (
    EngageLab,
    Exploration,
    Receiver,
    converges,
    exactly_once,
    idempotent,
    never_regresses,
    schedules,
)

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

Call = Callable[[], object]


def measure(effort: Effort) -> Iterator[Row]:
    """Explore every lifecycle with the invariants, smallest schedules first; then make the same calls directly.

    Both read the state and reset the app equally often; the direct calls are signed in advance. The app keeps its state
    in a file, as most apps do, and in memory, which is the fastest.
    """
    with tempfile.TemporaryDirectory() as directory:
        yield _measured(effort, "in a file", str(Path(directory, "shop.sqlite")))
    yield _measured(effort, "in memory", ":memory:")


def merged(effort: Effort) -> Iterator[Row]:
    """Explore every lifecycle, in every order and with one duplicate: the states merged, and a sample one by one."""
    shop = FlaskShop()
    results: dict[str, Exploration] = {}

    def explore(name: str, limit: int | None, *, merge: bool) -> None:
        results[name] = _explore(shop.app, shop.observe, shop.reset, limit, merge=merge)

    taken = interleaved(
        msgspec.structs.replace(effort, calls=1, rounds=min(effort.rounds, 3)),
        {
            "merged": lambda: explore("merged", None, merge=True),
            "sample": lambda: explore("sample", 10 * effort.calls, merge=False),
        },
    )
    shop.close()
    everything, sample = schedules(duplicates=1), results["sample"]
    each = taken["sample"] / sample.deliveries
    # As many as are sent one by one; `deliveries` is exact without batches.
    one_by_one = each * everything.deliveries
    context = {
        "schedules": float(results["merged"].schedules),
        "deliveries": float(results["merged"].deliveries),
        "deliveries_one_by_one": float(everything.deliveries),
        "merged_s": taken["merged"],
        "one_by_one_s": one_by_one,
        "sample_deliveries": float(sample.deliveries),
    }
    what = "every order of every lifecycle with one duplicate"
    yield Row(
        goal="E2",
        what=f"{what}: callbacks with equal states merged",
        value=float(results["merged"].deliveries),
        budget=20_000,
        unit="callbacks",
        context=context,
    )
    yield Row(
        goal="E2",
        what=f"{what}: time one by one, from a sample / with equal states merged",
        value=one_by_one / taken["merged"],
        budget=50,
        sense="at least",
        context=context,
    )


def split(effort: Effort) -> Iterator[Row]:
    """Explore a Flask app with SQLite in a file: every order with one duplicate in one process, and in two workers.

    The processor's time of the process with the most work is compared. Other work on the machine does not change it. If
    each process has a core, the exploration takes about as long. The times by the clock are in the context.
    """
    with tempfile.TemporaryDirectory() as directory:
        shop = FlaskShop(database=str(Path(directory, "shop.sqlite")))

        def use_database(number: int) -> None:
            shop.ledger = shop.orders.ledger = SqliteLedger(str(Path(directory, f"worker-{number}.sqlite")))

        def explore(workers: int) -> None:
            for path in Path(directory).glob("worker-*"):
                path.unlink()
            with EngageLab(shop.receiver) as engagelab:
                plan = schedules("verified", duplicates=1, limit=2 * effort.calls)
                before = _computed()
                found.append(
                    engagelab.explore(plan, merge=False, reset=shop.reset, workers=workers, in_worker=use_database)
                )
                own, theirs = [after - since for after, since in zip(_computed(), before, strict=True)]
            longest[workers] = min(longest.get(workers, inf), max(own, theirs / workers))

        found: list[Exploration] = []
        longest: dict[int, float] = {}
        taken = interleaved(
            msgspec.structs.replace(effort, calls=1, rounds=min(effort.rounds, 5)),
            {"one process": lambda: explore(1), "two workers": lambda: explore(2)},
        )
        shop.close()
    callbacks = found[0].deliveries
    yield Row(
        goal="E4",
        what="exploring a Flask app with SQLite in a file: work of one process alone / of the busiest with two workers",
        value=longest[1] / longest[2],
        budget=1.2,
        sense="at least",
        context={
            "cores": float(os.cpu_count() or 1),
            "callbacks": float(callbacks),
            "one_process_us": taken["one process"] / callbacks * 1e6,
            "two_workers_us": taken["two workers"] / callbacks * 1e6,
            "by_the_clock": taken["one process"] / taken["two workers"],
            "load": os.getloadavg()[0],
        },
    )


def _computed() -> tuple[float, float]:
    """Return the processor's time of this process, and of its workers that have ended, in seconds."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    own, theirs = [each.ru_utime + each.ru_stime for each in used]
    return own, theirs


def _measured(effort: Effort, where: str, database: str) -> Row:
    shop = FlaskShop(database=database)
    limit = 2 * effort.calls
    calls: list[Call] = []
    recorded = _explore(recording(shop.app, calls), noted(shop.observe, calls), noted(shop.reset, calls), limit)
    taken = interleaved(
        _once(effort),
        {
            "bare": lambda: make(calls),
            "explore": lambda: _explore(shop.app, shop.observe, shop.reset, limit),
        },
    )
    shop.close()
    callbacks = recorded.deliveries
    return Row(
        goal="E1",
        what=f"exploring a Flask app with SQLite {where} / the same calls of the app alone",
        value=taken["explore"] / taken["bare"],
        budget=1.2,
        context={
            "schedules": float(recorded.schedules),
            "callbacks": float(callbacks),
            "bare_us": taken["bare"] / callbacks * 1e6,
            "explore_us": taken["explore"] / callbacks * 1e6,
        },
    )


def _explore(
    app: WSGIApplication, observe: Callable[[str], Any], reset: Call, limit: int | None, *, merge: bool = False
) -> Exploration:
    receiver = Receiver.wsgi(app, PATH, username=USERNAME, secret=SECRET, observe=observe)
    invariants = [converges(), never_regresses(), exactly_once("credits"), idempotent()]
    with EngageLab(receiver) as engagelab:
        plan = schedules(duplicates=1, limit=limit)
        return engagelab.explore(plan, invariants=invariants, reset=reset, merge=merge)


def recording(app: WSGIApplication, calls: list[Call]) -> WSGIApplication:
    """Return the app, wrapped so that `calls` gets a copy of each call."""

    def recorded_app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        body = environ["wsgi.input"].getvalue()
        again = {**environ}
        calls.append(lambda: _call(app, again, body))
        return app(environ, start_response)

    return recorded_app


def make(calls: list[Call]) -> None:
    """Make the calls of a recorded exploration."""
    for call in calls:
        call()


def _call(app: WSGIApplication, environ: WSGIEnvironment, body: bytes) -> None:
    answer: Any = app({**environ, "wsgi.input": BytesIO(body)}, _start_response)
    b"".join(answer)
    answer.close()


def noted(function: Callable[..., Any], calls: list[Call]) -> Callable[..., Any]:
    """Return the function, wrapped so that `calls` gets a copy of each call."""

    def noted_call(*arguments: Any) -> Any:
        calls.append(lambda: function(*arguments))
        return function(*arguments)

    return noted_call


def _once(effort: Effort) -> Effort:
    """Return the effort with one call a round, which is a whole exploration."""
    return msgspec.structs.replace(effort, calls=1)


def _start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None, /) -> Callable[[bytes], object]:
    return lambda chunk: None
