"""Measure the rate at which a receiver breaks, for docs/howto/load.md: `python -m benchmarks.knee FILE`.

Flask with SQLite on gunicorn, with one worker and with four; the rate is doubled until a callback is not acknowledged
in time. The numbers are those of one machine; the picture shows that the knee moves.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.load.test_servers import GUNICORN, served

from engagelab_mock import LoadSummary, Receiver
from engagelab_mock.load.run import LoadRun, run_load

#: The first rate, in callbacks a second, and how long each rate lasts, in seconds.
FIRST, SECONDS = 100, 4
#: The numbers of workers.
WORKERS = (1, 4)


def measured(workers: int) -> dict[str, Any]:
    """Return the stages of one search."""
    command = [*GUNICORN]
    command[command.index("--workers") + 1] = str(workers)
    with tempfile.TemporaryDirectory() as folder, served(command, Path(folder)) as (base, _):
        receiver = Receiver.http(f"{base}/engagelab", username="acme", secret="s3cret")
        run = LoadRun(receiver, {"rate": FIRST, "duration": SECONDS, "until_it_breaks": True, "seed": workers})
        summary = run_load(run)
    return {"workers": workers, "knee": summary.knee, "stages": list(_stages(summary))}


def _stages(summary: LoadSummary) -> Any:
    for stage in summary.stages:
        begins, ends = stage.start, stage.start + stage.seconds
        found = [each.latency.p99 for each in summary.seconds if begins <= each.at < ends and each.latency.count]
        yield {
            "rate": stage.rate,
            "p99": round(max(found, default=0.0), 4),
            "failed": stage.failed,
            "generator": stage.generator,
        }


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps([measured(workers) for workers in WORKERS], indent=1) + "\n")
