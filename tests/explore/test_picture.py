"""The picture of the states: its edges and states, its layout, and the things that are left out of a large one."""

from __future__ import annotations

import re
from collections import Counter
from itertools import combinations
from xml.etree import ElementTree

import pytest

from engagelab_mock import EngageLab, Exploration, converges, never_regresses
from engagelab_mock.explore import picture as picture_module
from engagelab_mock.explore.graph import StateGraph
from engagelab_mock.explore.picture import picture
from tests.explore.books import Books, LastWriteWins
from tests.pages import NASTY, SVG, classes

#: The box of a text or a state: left, top, right, bottom.
Box = tuple[float, float, float, float]


def explore(books: Books, lifecycle: str = "verified", merge: bool = True) -> Exploration:
    with EngageLab(books.receiver) as engagelab:
        return engagelab.explore(
            lifecycle,
            duplicates=0,
            merge=merge,
            reset=books.reset,
            invariants=[converges(), never_regresses("status")],
            check=False,
        )


@pytest.fixture(scope="module")
def failed() -> Exploration:
    return explore(LastWriteWins())


def read(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


def texts(svg: ElementTree.Element, *wanted: str) -> list[str]:
    return ["".join(each.itertext()) for each in svg.iter(f"{SVG}text") if classes(each) >= {*wanted}]


def paths(svg: ElementTree.Element, *wanted: str) -> list[ElementTree.Element]:
    return [each for each in svg.iter(f"{SVG}path") if classes(each) >= {"edge", *wanted}]


def states(svg: ElementTree.Element, *wanted: str) -> list[ElementTree.Element]:
    return [each for each in svg.iter(f"{SVG}rect") if classes(each) >= {"state", *wanted}]


def shown(rect: ElementTree.Element) -> str:
    return rect.findtext(f"{SVG}title") or ""


def box(element: ElementTree.Element) -> Box:
    x, y = float(element.attrib["x"]), float(element.attrib["y"])
    if element.tag == f"{SVG}rect":
        return x, y, x + float(element.attrib["width"]), y + float(element.attrib["height"])
    return x, y - 10, x + float(element.attrib["textLength"]), y + 3


def overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def test_each_state_and_each_edge_is_drawn_once(failed: Exploration) -> None:
    svg, dot = read(failed.graph("svg")), failed.graph("dot")
    assert len(states(svg)) == len(re.findall(r"^  s\d+ \[label", dot, re.MULTILINE))
    assert len(paths(svg)) == dot.count("->")
    labels = re.findall(r'-> s\d+ \[label="(.*?)"', dot)
    assert Counter(texts(svg, "label")) == Counter(labels)


def test_the_failing_path_is_bold_and_a_status_that_goes_back_is_red(failed: Exploration) -> None:
    svg, dot = read(failed.graph("svg")), failed.graph("dot")
    assert failed.failures[0].token == "eg1:verified,delivered"
    assert texts(svg, "label", "failing") == ["verified", "delivered"]
    assert texts(svg, "label", "failing", "back") == ["delivered"]
    assert len(paths(svg, "failing")) == 2
    book = "{'status': '%s', 'credits': 1}"
    assert [shown(rect) for rect in states(svg, "failing")] == ["None", book % "verified", book % "delivered"]
    assert len(paths(svg, "back")) == dot.count("color=") - len(states(svg, "fork")) > 3
    assert not paths(read(explore(Books()).graph("svg")), "back")


def test_ends_that_differ_are_red(failed: Exploration) -> None:
    ends = {shown(rect) for rect in states(read(failed.graph("svg")), "fork")}
    assert ends == {f"{{'status': {status!r}, 'credits': 1}}" for status in ("plan", "sent", "delivered", "verified")}
    assert not states(read(explore(Books()).graph("svg")), "fork")


def test_bold_is_wider_and_red_is_red_in_both_themes(failed: Exploration) -> None:
    style = read(failed.graph("svg")).findtext(f"{SVG}style") or ""
    light, dark = re.findall(r"--red: (#\w+);", style)
    assert all(int(red[1:3], 16) > 1.5 * int(red[3:5], 16) for red in (light, dark))
    named: dict[str, str] = {}
    for names, rule in re.findall(r"([^{}]+)\{([^{}]*)\}", style):
        for name in names.split(","):
            named[name.strip()] = named.get(name.strip(), "") + rule
    assert "stroke: var(--red)" in named[".states .back"]
    assert "stroke: var(--red)" in named[".states .fork"]
    assert "stroke-width: 3" in named[".states path.failing"]
    assert "stroke-width: 1.25" in named[".states path"]


@pytest.mark.parametrize("lifecycle", ["verified", pytest.param("fallback", marks=pytest.mark.slow)])
def test_nothing_covers_anything_else(lifecycle: str, failed: Exploration) -> None:
    svg = read((failed if lifecycle == "verified" else explore(LastWriteWins(), lifecycle)).graph("svg"))
    labels = [each for each in svg.iter(f"{SVG}text") if "in-state" not in classes(each)]
    boxes = [box(each) for each in [*labels, *states(svg)]]
    assert not [pair for pair in combinations(boxes, 2) if overlap(*pair)]
    width, height = float(svg.attrib["width"]), float(svg.attrib["height"])
    assert all(each[0] > 0 and each[1] > 0 and each[2] < width and each[3] < height for each in boxes)
    inside = [box(each) for each in svg.iter(f"{SVG}text") if "in-state" in classes(each)]
    around = [box(each) for each in states(svg)]
    for one in inside:
        assert [
            each for each in around if each[0] < one[0] and one[2] < each[2] and each[1] < one[1] < one[3] < each[3]
        ]


def test_states_stand_by_depth_and_an_edge_goes_from_its_state_to_the_next() -> None:
    graph = StateGraph()
    graph.add((0, "'a'"), (1, "'b'"), "one")
    graph.add((1, "'b'"), (2, "'c'"), "two")
    graph.add((0, "'a'"), (2, "'c'"), "both")
    svg = read(picture(graph))
    places = {shown(rect): box(rect) for rect in states(svg)}
    assert places["'a'"][2] < places["'b'"][0] < places["'b'"][2] < places["'c'"][0]
    for path, ends in zip(paths(svg), [("'a'", "'b'"), ("'b'", "'c'"), ("'a'", "'c'")], strict=True):
        first, last = (places[name] for name in ends)
        x, y = re.findall(r"^M([\d.]+) ([\d.]+)", path.attrib["d"])[0]
        to_x, to_y = re.findall(r"([\d.]+) ([\d.]+) m-7 -4", path.attrib["d"])[0]
        assert (float(x), float(to_x)) == pytest.approx((first[2], last[0]), abs=0.2)
        assert (float(y), float(to_y)) == pytest.approx(((first[1] + first[3]) / 2, (last[1] + last[3]) / 2), abs=0.2)


def test_edges_that_need_not_cross_do_not() -> None:
    graph = StateGraph()
    for number, (first, last) in enumerate([("a", "z"), ("b", "y"), ("c", "x")]):
        graph.add((0, "0"), (1, first), f"to {first}")
        graph.add((1, first), (2, last), f"{number}")
    for last in ("x", "y", "z"):  # this order is the opposite of the one above
        graph.places.pop((2, last))
        graph.places[2, last] = 10 + ord(last)
    svg = read(picture(graph))
    heights = {shown(rect): box(rect)[1] for rect in states(svg)}
    assert sorted("abc", key=heights.__getitem__) in (list("abc"), list("cba"))
    order = sorted("xyz", key=heights.__getitem__)
    assert [{"a": "z", "b": "y", "c": "x"}[each] for each in sorted("abc", key=heights.__getitem__)] == order


def test_a_retry_comes_back_to_the_same_depth() -> None:
    graph = StateGraph()
    graph.add((0, "0"), (1, "1"), "sent")
    graph.add((1, "1"), (1, "2"), "retries")
    graph.add((1, "1"), (1, "1"), "retries")
    svg = read(picture(graph))
    assert texts(svg, "label") == ["sent", "retries"]
    assert "m7 -4" in paths(svg)[1].attrib["d"]
    assert len({box(rect)[0] for rect in states(svg)}) == 2


def test_of_a_large_graph_a_part_is_drawn_with_the_failing_path_and_the_picture_says_so(
    monkeypatch: pytest.MonkeyPatch, failed: Exploration
) -> None:
    whole = read(failed.graph("svg"))
    monkeypatch.setattr(picture_module, "MOST_STATES", 7)
    svg = read(failed.graph("svg"))
    assert len(states(svg)) <= 7
    assert len(paths(svg, "failing")) == len(paths(whole, "failing")) == 2
    drawn = f"drawn: {len(states(svg))} of {len(states(whole))} states, {len(paths(svg))} of {len(paths(whole))} edges"
    assert drawn in " ".join(texts(svg, "note"))
    assert "drawn" not in " ".join(texts(whole, "note"))


def test_it_is_described_in_words(failed: Exploration) -> None:
    svg = read(failed.graph("svg"))
    assert (svg.attrib["role"], bool(svg.findtext(f"{SVG}title"))) == ("img", True)
    described = svg.findtext(f"{SVG}desc") or ""
    assert f"{len(states(svg))} states and {len(paths(svg))} edges" in described
    back = "delivered leads from {'status': 'verified', 'credits': 1} to {'status': 'delivered', 'credits': 1}."
    assert described.endswith(back)


def test_any_text_is_a_text() -> None:
    graph = StateGraph()
    graph.add((0, NASTY), (1, repr({NASTY: NASTY, "b": 1})), NASTY)
    graph.add((1, repr({NASTY: NASTY, "b": 1})), (2, repr({NASTY: "", "b": "x" * 10_000})), "密密密")
    text = picture(graph)
    text.encode()
    svg = read(text)
    assert {each.tag.removeprefix(SVG) for each in svg.iter()} == {
        "svg",
        "title",
        "desc",
        "style",
        "rect",
        "text",
        "path",
    }
    assert max(len("".join(each.itertext())) for each in svg.iter(f"{SVG}text")) < 100
    assert not {"\x00", "\u202e", "\x1b"} & {*text}


def test_without_an_edge_the_first_state_is_drawn() -> None:
    assert len(states(read(picture(StateGraph())))) == 0
    graph = StateGraph()
    graph.add((0, "None"), (0, "None"), "again")
    assert len(states(read(picture(graph)))) == 1
