"""The knee: the latency of a receiver at doubled rates, with one worker and with four, as measured."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from svg import Picture

#: What `python -m benchmarks.knee docs/pictures/knee.json` wrote.
RUNS: list[dict[str, Any]] = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))


def _knees() -> str:
    return " and ".join(f"{run['knee']:g} a second with {_workers(run)}" for run in RUNS)


def _workers(run: dict[str, Any]) -> str:
    return f"{run['workers']} worker" + ("s" if run["workers"] > 1 else "")


ALT = f"The latency of 99 % of the callbacks at doubled rates: Flask on gunicorn holds {_knees()}."

_LEFT, _RIGHT, _TOP, _BOTTOM = 78, 576, 56, 270
_STYLES = ("amber", "blue")
#: The latencies of the axis, in seconds.
_MARKS = (0.001, 0.01, 0.1, 1, 10)


def draw() -> str:
    picture = Picture(596, 330, ALT)
    picture.text(20, 32, "99 % of the callbacks are answered within", "bold")
    rates = sorted({stage["rate"] for run in RUNS for stage in run["stages"]})
    for mark in _MARKS:
        picture.path(f"M{_LEFT} {_y(mark):.1f} H{_RIGHT}", "line-rule")
        words = f"{mark:g} s" if mark >= 1 else f"{mark * 1000:g} ms"
        picture.text(_LEFT - 8, _y(mark) + 4, words, "soft", size=12, anchor="end")
    for rate in rates:
        picture.text(_x(rate, rates), _BOTTOM + 20, f"{rate:g}/s", "soft", size=12, anchor="middle")
    for run, style in zip(RUNS, _STYLES, strict=True):
        points = [(_x(stage["rate"], rates), _y(stage["p99"]), stage["failed"]) for stage in run["stages"]]
        course = " ".join(f"{'L' if number else 'M'}{x:.1f} {y:.1f}" for number, (x, y, _) in enumerate(points))
        picture.path(course, f"line-{style}")
        for x, y, failed in points:
            picture.text(x, y + 5, "✗" if failed else "•", f"{'bad' if failed else style} bold", anchor="middle")
    x = 20.0
    for run, style in zip(RUNS, _STYLES, strict=True):
        words = f"{_workers(run)}: holds {run['knee']:g}/s"
        picture.text(x, 314, words, style, size=12.5)
        x += 230
    picture.text(576, 314, "✗ breaks", "bad", size=12.5, anchor="end")
    return picture.render()


def _x(rate: float, rates: list[float]) -> float:
    return _LEFT + 24 + (_RIGHT - _LEFT - 48) * rates.index(rate) / max(1, len(rates) - 1)


def _y(seconds: float) -> float:
    low, high = math.log10(_MARKS[0]), math.log10(_MARKS[-1])
    share = (math.log10(max(seconds, _MARKS[0])) - low) / (high - low)
    return _BOTTOM - (_BOTTOM - _TOP) * min(share, 1.0)
