"""The command line: `python -m benchmarks [--quick] [--only G4,M1] [--deliveries N] [--format text|json]`."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import msgspec

from benchmarks import (
    console,
    explore,
    fixture,
    generation,
    http_delivery,
    inprocess,
    load,
    memory,
    races,
    retries,
    server,
    session,
    startup,
)
from benchmarks.row import Row
from benchmarks.table import print_table, to_json
from benchmarks.timing import FULL, QUICK, Effort

#: What measures each goal.
GOALS: dict[str, Callable[[Effort], Iterator[Row]]] = {
    "G1": startup.measure,
    "G2": fixture.measure,
    "G3": session.measure,
    "G4": inprocess.wsgi,
    "G5": inprocess.flask,
    "G6": inprocess.asgi,
    "G7": generation.measure,
    "G8": http_delivery.measure,
    "L1": load.measure,
    "M1": memory.measure,
    "S1": server.throughput,
    "S2": server.endurance,
    "S3": server.stopping,
    "S4": server.starting,
    "C1": console.measure,
    "T1": retries.measure,
    "E1": explore.measure,
    "E2": explore.merged,
    "E3": races.measure,
    "E4": explore.split,
}


@click.command()
@click.option("--quick", is_flag=True, help="Measure for seconds rather than minutes; the ratios are rough.")
@click.option("--only", metavar="G4,G5", help="Measure these goals only.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", help="What to print.")
@click.option("--json", "file", type=click.Path(dir_okay=False, path_type=Path), help="Write JSON here as well.")
@click.option("--deliveries", type=click.IntRange(6), help="Weigh memory over this many deliveries.")
def main(quick: bool, only: str | None, form: str, file: Path | None, deliveries: int | None) -> None:
    """Measure the costs of engagelab-mock and print them next to their budgets."""
    chosen = list(GOALS) if only is None else [goal.strip().upper() for goal in only.split(",")]
    for goal in chosen:
        if goal not in GOALS:
            raise click.BadParameter(f"unknown goal {goal!r}; the goals are {', '.join(GOALS)}", param_hint="--only")
    effort = QUICK if quick else FULL
    if deliveries is not None:
        effort = msgspec.structs.replace(effort, deliveries=deliveries)
    rows = []
    for goal in chosen:
        click.echo(f"measuring {goal} …", err=True)
        for row in _measure(goal, effort):
            rows.append(row)
            if form == "json":
                click.echo(to_json(row))
    if form == "text":
        print_table(rows)
    if file is not None:
        file.write_text("".join(f"{to_json(row)}\n" for row in rows), encoding="utf-8")


def _measure(goal: str, effort: Effort) -> Iterator[Row]:
    """Yield a goal's rows; an error, of a peer for example, ends only this goal, with a row that says so."""
    try:
        yield from GOALS[goal](effort)
    except Exception as error:
        traceback.print_exc()
        reason = str(error).splitlines()[0] if str(error) else ""
        missing = f"{type(error).__name__}: {reason}"
        yield Row(goal=goal, what="the rest of this goal", budget=1, missing=missing)


if __name__ == "__main__":
    main()
