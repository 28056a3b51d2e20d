"""The page of a load: its verdict, its plots, and its cases."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from werkzeug import Request, Response

from engagelab_mock import LoadSummary
from engagelab_mock.cli import main
from engagelab_mock.load.report_html import load_html
from engagelab_mock.load.summary import Case, Latency, Second
from engagelab_mock.server.loopback import LoopbackServer

GOOD: dict[str, Any] = {"url": "http://127.0.0.1:5000/", "asked": 8, "made": 8, "duration": 4.0}
GOOD |= {"outcomes": {"acknowledged": 8}}


def latency(seconds: float) -> Latency:
    return Latency(count=2, p50=seconds / 2, p90=seconds, p99=seconds, p999=seconds, maximum=seconds)


def second(at: int, took: float | None = 0.5, **given: Any) -> Second:
    fields: dict[str, Any] = {"asked": 2, "sent": 2, "latency": Latency() if took is None else latency(took)}
    return Second(at=at, **fields | given)


def plots(page: str) -> list[ElementTree.Element]:
    return [ElementTree.fromstring(found) for found in re.findall(r'<svg class="plot" role="img".*?</svg>', page)]


def points(plot: ElementTree.Element, colour: str) -> list[list[tuple[float, float]]]:
    lines = plot.iterfind(f"polyline[@class='{colour}']")
    return [
        [(float(x), float(y)) for x, y in re.findall(r"([\d.]+),([\d.]+)", line.get("points", ""))] for line in lines
    ]


@pytest.mark.parametrize(
    ("given", "style", "said"),
    [
        ({}, "pass", "Nothing was lost on the way. Effects were not judged."),
        ({"observed": 2}, "pass", "Nothing was lost, doubled or regressed."),
        ({"observed": 2, "messages": 20}, "pass", "Nothing was lost, doubled or regressed in 2 of 20 messages."),
        ({"problems": ("it has no end marker",)}, "warn", "The run is incomplete, so it proves nothing."),
        ({"outcomes": {}}, "warn", "The run is incomplete, so it proves nothing."),
        ({"outcomes": {"refused": 8}}, "fail", "The receiver could not be reached."),
        ({"outcomes": {"acknowledged": 7, "not_200": 1}}, "fail", "of 8 callbacks, 1 not acknowledged (not_200: 1)"),
        ({"observed": 2, "counts": {"lost": 1}}, "fail", "of 2 messages observed, 1 lost"),
        ({"interrupted": True, "problems": ("it was interrupted",)}, "warn", "Interrupted. The run is incomplete"),
    ],
)
def test_the_verdict_is_that_of_the_summary(given: dict[str, Any], style: str, said: str) -> None:
    page = load_html(LoadSummary(**GOOD | given))
    [verdict] = re.findall(r'<p class="(\w+)"><b>(.*?)</b></p>', page)
    assert verdict[0] == style
    assert said in verdict[1]


def test_a_plot_has_a_point_for_each_second() -> None:
    page = load_html(LoadSummary(**GOOD, seconds=(second(0, 0.2), second(1, 0.4), second(2, 0.2))))
    [line] = points(plots(page)[0], "c")
    xs, ys = zip(*line, strict=True)
    assert list(xs) == sorted(xs)
    assert ys[0] == ys[2] > ys[1]  # higher values are further up
    # The median is half of the maximum, and the axis begins at 0.
    [half] = points(plots(page)[0], "a")
    [bottom] = {float(text.get("y", "")) - 4 for text in plots(page)[0].iterfind("text") if text.text == "0"}
    assert bottom - half[1][1] == pytest.approx((bottom - ys[1]) / 2, abs=0.2)


def test_a_second_without_an_answer_is_a_gap_and_not_a_zero() -> None:
    page = load_html(LoadSummary(**GOOD, seconds=(second(0), second(1), second(2, None), second(3), second(4))))
    assert [len(line) for line in points(plots(page)[0], "c")] == [2, 2]


def test_the_peak_of_a_long_run_is_drawn() -> None:
    seconds = tuple(second(at, 9.0 if at == 1_234 else 0.1) for at in range(3_600))
    page = load_html(LoadSummary(**GOOD, seconds=seconds))
    [line] = points(plots(page)[0], "c")
    assert len(line) <= 400
    assert len({y for _, y in line}) == 2
    assert len(page) < 100_000


@pytest.mark.parametrize(("took", "shown"), [(0.02, False), (2.0, True), (3.5, True)])
def test_the_limit_is_drawn_when_it_is_near(took: float, shown: bool) -> None:
    page = load_html(LoadSummary(**GOOD, limit=3.0, seconds=(second(0, took), second(1, took))))
    assert ("limit 3 s" in page) is shown


def test_texts_of_the_receiver_are_escaped() -> None:
    hostile = "<script>alert(1)</script>"
    cases = (Case(kind="lost", message_id=hostile, scenario="verified", what=hostile),)
    page = load_html(LoadSummary(**GOOD | {"url": hostile}, counts={"lost": 1}, cases=cases, reasons={"x": hostile}))
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 3
    assert "http-equiv" not in page
    assert re.findall(r'(?:src|href)="', page) == []


def test_the_first_cases_of_each_kind_are_listed() -> None:
    cases = tuple(Case(kind="lost", message_id=f"{n}", scenario="verified", what="gone") for n in range(150))
    page = load_html(LoadSummary(**GOOD, observed=999, counts={"lost": 333}, cases=cases))
    assert "Lost: 333 messages" in page
    assert page.count("<td>gone</td>") == 100
    assert "233 more" in page


@pytest.mark.slow
def test_the_command_writes_the_page(tmp_path: Path) -> None:
    file = tmp_path / "load.html"
    with LoopbackServer(Request.application(lambda request: Response(status=500))) as server:
        code = main(["load", f"{server.url}/", "--rate", "50", "--duration", "1", "--report", f"html={file}"])
    assert code == 1
    page = file.read_text(encoding="utf-8")
    assert "The receiver fell short" in page
    assert len(plots(page)) == 4
