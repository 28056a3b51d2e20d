"""Measure every stack and store the result: `python -m tests.real.stacks`; then run `python docs/tables`."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.real.stacks.matrix import Row, store
from tests.real.stacks.measure import STIMULI, interim_answers, measure, versions
from tests.real.stacks.process import running
from tests.real.stacks.servers import STACKS

#: How long to wait for a request that may never come, in seconds.
_PATIENCE = 1.0


def main() -> None:
    rows = {}
    for name in STACKS:
        with tempfile.TemporaryDirectory() as directory, running(name, Path(directory)) as stack:
            cells = {stimulus: measure(stack, stimulus, patience=_PATIENCE) for stimulus in STIMULI}
            continues = interim_answers(stack, patience=_PATIENCE)
        rows[name] = Row(versions(name), continues, cells)
        print(name, versions(name), sep=": ")
    store(rows)


if __name__ == "__main__":
    main()
