"""The tables of the measurements: faults on the wire, and the same app in process and behind a server."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cells import table

from engagelab_mock import FAULTS

_REAL = Path(__file__).parents[2] / "tests" / "real"
#: The results of `python -m tests.real.stacks`.
_WIRE_MATRIX = _REAL / "stacks" / "matrix.json"
#: The results of `python -m tests.real.differential`.
_IN_PROCESS = _REAL / "differential" / "table.json"


def wire_stacks() -> str:
    rows = (
        [
            stack,
            row["versions"],
            "on the same connection" if row["cells"]["plain"]["then"] == "kept" else "the server closes after each",
            ["never", "once", "twice"][row["continues"]],
        ]
        for stack, row in _wire_matrix().items()
    )
    return table(["stack", "measured with", "a second callback", "says `100 Continue`"], rows)


def wire_agreed() -> str:
    rows = ([*_sent(stimulus), _reached(cells[0])] for stimulus, cells in _stimuli() if _agree(cells))
    return table(["fault", "request", "on every stack"], rows)


def wire_differing() -> str:
    differing = [(stimulus, cells) for stimulus, cells in _stimuli() if not _agree(cells)]
    rows = (
        [stack, *(_reached(cells[number], among=cells) for _, cells in differing)]
        for number, stack in enumerate(_wire_matrix())
    )
    return table(["stack", *(f"`{stimulus}`" for stimulus, _ in differing)], rows)


def wire_unread_chunks() -> str:
    return "\n".join(f"- {name}" for name, row in _wire_matrix().items() if row["cells"]["chunked"]["body"] == "empty")


def in_process_same() -> str:
    measured = json.loads(_IN_PROCESS.read_text(encoding="utf-8"))
    rows = (
        [case["does"], ", ".join(f"`{outcome}`" for outcome in measured["sides"]["WSGI, send"][name]["outcomes"])]
        for name, case in measured["cases"].items()
        if not case["reason"]
    )
    return table(["the app …", "the outcome on every side"], rows)


def in_process_differing() -> str:
    measured = json.loads(_IN_PROCESS.read_text(encoding="utf-8"))
    sides = {"WSGI, send": "WSGI in process", "gunicorn gthread": "", "waitress": ""}
    sides |= {"ASGI, send": "ASGI in process", "uvicorn": "", "hypercorn": ""}

    def cell(side: str, name: str) -> str:
        made = measured["sides"][side][name]
        return "; ".join([*(f"`{outcome}`" for outcome in made["outcomes"]), *made["state"]])

    rows = (
        [case["does"], *(cell(side, name) for side in sides), case["reason"]]
        for name, case in measured["cases"].items()
        if case["reason"]
    )
    return table(["the app …", *(title or side for side, title in sides.items()), "why"], rows)


def _wire_matrix() -> dict[str, dict[str, Any]]:
    matrix: dict[str, dict[str, Any]] = json.loads(_WIRE_MATRIX.read_text(encoding="utf-8"))
    return matrix


def _stimuli() -> list[tuple[str, list[dict[str, Any]]]]:
    """Return each stimulus with its cells, one for every stack."""
    rows = list(_wire_matrix().values())
    return [(stimulus, [row["cells"][stimulus] for row in rows]) for stimulus in rows[0]["cells"]]


def _sent(stimulus: str) -> tuple[str, str]:
    return (f"`{stimulus}`", FAULTS[stimulus].description) if stimulus in FAULTS else ("none", "a callback as usual")


def _agree(cells: list[dict[str, Any]]) -> bool:
    """Tell whether the same reached the app on every stack; connections are another matter."""
    return all({**cell, "then": ""} == {**cells[0], "then": ""} for cell in cells)


def _reached(cell: dict[str, Any], *, among: Sequence[dict[str, Any]] = ()) -> str:
    """Say what reached the app. With `among`, leave out the values that are the same in all those cells."""
    if not cell["calls"]:
        return "the app is not called"
    words = {
        "status": f"answered {cell['status']}" if cell["status"] else cell["outcome"],
        "body": _BODIES.get(cell["body"], f"reading it raises `{cell['body']}`"),
        "header": _HEADERS.get(cell["header"], f"header `{cell['header']}`"),
    }
    others = [other for other in among if other["calls"]]
    return ", ".join(text for key, text in words.items() if not others or any(o[key] != cell[key] for o in others))


_BODIES = {
    "whole": "the whole body",
    "empty": "**no body**",
    "compressed": "the compressed body",
    "part": "**half a body**",
}
_HEADERS = {"sent": "the header as sent", "": "no header"}


TABLES: dict[str, Callable[[], str]] = {
    "in-process-same": in_process_same,
    "in-process-differing": in_process_differing,
    "wire-stacks": wire_stacks,
    "wire-agreed": wire_agreed,
    "wire-differing": wire_differing,
    "wire-unread-chunks": wire_unread_chunks,
}
