"""The stored result: what each stack makes of each stimulus."""

from __future__ import annotations

from pathlib import Path

import msgspec

from tests.real.stacks.measure import Cell

MATRIX = Path(__file__).with_name("matrix.json")


class Row(msgspec.Struct, frozen=True):
    """What was measured on one stack, and the versions it was measured with."""

    versions: str
    #: How often the server says "100 Continue" to a request that expects it.
    continues: int
    cells: dict[str, Cell]


def stored() -> dict[str, Row]:
    """Return the rows by stack."""
    return msgspec.json.decode(MATRIX.read_bytes(), type=dict[str, Row])


def store(rows: dict[str, Row]) -> None:
    """Write the rows, a cell a line, so that a change is easy to read."""
    stacks = []
    for name, row in rows.items():
        cells = [f"      {_json(stimulus)}: {_json(cell)}" for stimulus, cell in row.cells.items()]
        facts = [f'    "versions": {_json(row.versions)}', f'    "continues": {_json(row.continues)}']
        lines = ",\n".join([*facts, '    "cells": {\n' + ",\n".join(cells) + "\n    }"])
        stacks.append(f"  {_json(name)}: {{\n{lines}\n  }}")
    MATRIX.write_text("{\n" + ",\n".join(stacks) + "\n}\n", encoding="utf-8")


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
