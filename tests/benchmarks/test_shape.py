"""The script that counts modules, names, calls and frames."""

from __future__ import annotations

import json

import pytest
from benchmarks.shape import main, public_names, shape, trace_send
from click.testing import CliRunner

from engagelab_mock import EngageLab


class Twins:
    """A class with async twins and names that only look like them."""

    def __init__(self) -> None:
        self.attribute = 1
        self._private = 2

    def send(self) -> None: ...

    async def asend(self) -> None: ...

    def part(self) -> None: ...

    def apart(self) -> None: ...

    async def alone(self) -> None: ...

    @property
    def value(self) -> int:
        return 1


def test_an_async_twin_does_not_count_as_another_name() -> None:
    assert public_names(Twins) == (["alone", "apart", "attribute", "part", "send", "value"], 1)


def test_the_names_are_those_of_an_engagelab() -> None:
    names, twins = public_names(EngageLab)
    assert {"send", "settle", "journal", "receivers", "clock", "seed"} <= set(names)
    assert twins > 10
    assert not any(name.startswith("_") or name == "asend" for name in names)


def test_the_frames_go_from_the_app_to_send() -> None:
    calls, frames = trace_send()
    assert frames[0].startswith("shape.")
    assert frames[-1].endswith(".EngageLab.send")
    assert len(set(frames[1:])) > 3
    # Each callback comes through these frames, but for those outside the loop.
    assert len(calls) > 2 * len(frames)
    assert all("engagelab_mock" in code.co_filename for code in calls)


def test_two_counts_are_the_same() -> None:
    assert trace_send() == trace_send()
    assert len(trace_send("acme", "s3cret")[0]) > len(trace_send()[0])


@pytest.mark.slow
def test_it_prints_every_figure() -> None:
    counted = shape()
    result = CliRunner().invoke(main)
    assert result.exit_code == 0, result.output
    for line in (
        f"modules in src: {counted.modules}, of {counted.lines:,} lines",
        f"classes named EngageLab: {len(counted.classes)} (",
        f"public names of EngageLab: {len(counted.names)}, and {counted.twins} async twins",
        f"one send of four callbacks: {counted.calls} calls in {len(counted.called)} modules; ",
        f"frames from the app to send, both counted: {len(counted.frames)}",
    ):
        assert line in result.output
    assert json.loads(CliRunner().invoke(main, ["--format", "json"]).output)["calls"] == counted.calls
