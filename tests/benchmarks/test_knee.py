"""The script that measures the knee for the guide to loads, on a real server, with short stages."""

from __future__ import annotations

import pytest

pytest.importorskip("gunicorn")

from benchmarks import knee


@pytest.mark.slow
def test_the_rate_is_doubled_until_it_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(knee, "FIRST", 200)
    monkeypatch.setattr(knee, "SECONDS", 1)
    found = knee.measured(1)
    rates = [stage["rate"] for stage in found["stages"]]
    assert rates == [200.0 * 2**number for number in range(len(rates))]
    last = found["stages"][-1]
    assert last["failed"] or last["generator"], "nothing else ends it"
    held = [stage["rate"] for stage in found["stages"][:-1]]
    assert found["knee"] == (held[-1] if held else 0.0)
