"""Print rows as a table or as JSON Lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.row import Row
from benchmarks.why import WHY

_SIGNS = {"at most": "≤", "at least": "≥"}


def print_table(rows: Sequence[Row]) -> None:
    table = Table(title="Budgets, as ratios taken in this run", title_justify="left")
    table.add_column("goal")
    table.add_column("what")
    for title in ("measured", "budget"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("verdict")
    for row in rows:
        measured = "-" if row.value is None else _figure(row.value, row.unit)
        budget = f"{_SIGNS[row.sense]} {_figure(row.budget, row.unit)}"
        table.add_row(row.goal, row.what, measured, budget, row.verdict)
    console = Console(highlight=False)
    console.print(table)
    for line in dict.fromkeys(f"{row.goal}: {_context(row)}" for row in rows if row.context):
        console.print(line, soft_wrap=True)
    for goal in dict.fromkeys(row.goal for row in rows if _why(row)):
        console.print(f"why {goal} misses: {WHY[goal]}", soft_wrap=True)


def to_json(row: Row) -> str:
    """Write a row with its verdict on one line."""
    fields: dict[str, Any] = msgspec.to_builtins(row)
    return msgspec.json.encode({**fields, "meets": row.meets, "verdict": row.verdict, "why": _why(row)}).decode()


def _why(row: Row) -> str:
    return "" if row.meets or row.value is None else WHY.get(row.goal, "")


def _context(row: Row) -> str:
    return ", ".join(f"{name} {_round(value)}" for name, value in row.context.items())


def _figure(value: float, unit: str) -> str:
    return f"{_round(value)} {unit}"


def _round(value: float) -> str:
    return f"{value:.3g}" if value < 100 else f"{value:,.0f}"
