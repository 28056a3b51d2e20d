"""Measure every side again and store the result: `python -m tests.real.differential`."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.real.differential.sides import IN_PROCESS, SERVERS, measure, store

if __name__ == "__main__":
    measured = {}
    for side in (*IN_PROCESS, *SERVERS):
        with tempfile.TemporaryDirectory() as directory:
            measured[side] = measure(side, Path(directory))
    store(measured)
