"""The graph of the states as an SVG picture: states by depth from left to right, with a row for each label.

The layout is the usual one for layers. Each edge has its label as a place of its layer between two layers of states, so
labels never cover each other. In each layer, the places are sorted by the mean place of their neighbours as long as
fewer edges cross. Then each is moved as near to its neighbours as the others allow.
"""

from __future__ import annotations

import ast
import textwrap
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from itertools import pairwise

import msgspec

from engagelab_mock.delivery.render import printable
from engagelab_mock.explore.graph import Drawn, StateGraph

#: The greatest numbers of states and edges that are drawn; a larger picture cannot be looked at.
MOST_STATES, MOST_EDGES = 60, 120
#: The greatest number of characters of a line, of lines of a state, and of labels of an edge.
_CHARACTERS, _LINES, _LABELS = 26, 4, 3
#: The width of a character, the height of a line, and the distances, in pixels.
_ADVANCE, _LINE = 7.3, 16
_PAD, _GAP, _BETWEEN, _MARGIN = 8, 34, 8, 14
_SWEEPS = 8

_STYLE = """
.states { --paper: #fff; --ink: #1c2024; --soft: #60646c; --line: #8b919a; --box: #f3f4f6; --red: #b3261e; }
@media (prefers-color-scheme: dark) { .states { --paper: #191b1f; --ink: #eceef0; --soft: #a0a6ae; --line: #7d848d;
  --box: #22252a; --red: #ff9592; } }
.states text { font: 12px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  fill: var(--ink); white-space: pre; unicode-bidi: isolate; paint-order: stroke; stroke: var(--paper);
  stroke-width: 3px; }
.states .paper { fill: var(--paper); stroke: none; }
.states .state { fill: var(--box); stroke: var(--line); stroke-width: 1; }
.states .in-state { stroke: none; }
.states path { fill: none; stroke: var(--line); stroke-width: 1.25; }
.states .note { fill: var(--soft); }
.states .back, .states .fork { stroke: var(--red); } .states .back { stroke-dasharray: 6 3; }
.states text.back { fill: var(--red); stroke: var(--paper); }
.states path.failing, .states .state.failing { stroke-width: 3; } .states text.failing { font-weight: bold; }
"""


class _Place(msgspec.Struct, eq=False):
    """Hold a place in a layer: a state, a label, or a point that a long edge passes."""

    lines: tuple[str, ...] = ()
    #: The state; None for a label or a point.
    drawn: Drawn | None = None
    left: list[_Place] = []
    right: list[_Place] = []
    x: float = 0.0
    y: float = 0.0

    @property
    def width(self) -> float:
        return max(map(_width, self.lines), default=0.0) + (2 * _PAD if self.lines else 0)

    @property
    def height(self) -> float:
        return len(self.lines) * _LINE + (2 * _PAD if self.drawn is not None else 4)

    @property
    def line(self) -> float:
        """Return the height at which an edge passes: under the text of a label."""
        return self.y if self.drawn is not None else self.y + self.height / 2 - 2


#: An edge with the places that it passes, from its state to the next.
_Way = tuple[tuple[Drawn, Drawn], list[_Place]]


def picture(graph: StateGraph, title: str = "The states of the receiver, and the callbacks between them") -> str:
    """Return the graph of the states as an SVG element.

    >>> graph = StateGraph()
    >>> graph.add((0, "None"), (1, "'sent'"), "sent")
    >>> picture(graph).startswith('<svg xmlns="http://www.w3.org/2000/svg" class="states"')
    True
    """
    edges = _chosen(graph)
    states = dict.fromkeys(drawn for edge in edges for drawn in edge) or dict.fromkeys(list(graph.places)[:1])
    layers, ways = _layers(graph, list(states), edges)
    _order(layers)
    width, height = _position(layers)
    shapes = [shape for way in ways for shape in _edge(graph, *way)]
    shapes += [
        shape for layer in layers for place in layer if place.drawn is not None for shape in _state(graph, place)
    ]
    notes = _notes(graph, states, edges, width)
    for number, note in enumerate(notes):
        shapes.append(_text(_MARGIN, height + 18 + number * _LINE, note, "note"))
    width = max([width, *(_width(note) + 2 * _MARGIN for note in notes)])
    height += 18 + len(notes) * _LINE
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="states" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" role="img">\n<title>{_escaped(title)}</title>\n'
        f"<desc>{_escaped(_described(graph, states, edges))}</desc>\n<style>{_STYLE}</style>\n"
        f'<rect class="paper" x="0" y="0" width="{width:.0f}" height="{height:.0f}" rx="8"/>\n'
        + "\n".join(shapes)
        + "\n</svg>\n"
    )


def _chosen(graph: StateGraph) -> list[tuple[Drawn, Drawn]]:
    """Return the edges to draw: those of the failure, then the others as they were found, schedule by schedule."""
    places = {edge: place for place, edge in enumerate(graph.edges)}
    states: set[Drawn] = set()
    chosen: list[tuple[Drawn, Drawn]] = []
    for edge in sorted(graph.edges, key=lambda edge: edge not in graph.failing):
        if edge[0] == edge[1]:
            continue
        if len(chosen) < MOST_EDGES and len(states | {*edge}) <= MOST_STATES:
            states |= {*edge}
            chosen.append(edge)
    return sorted(chosen, key=places.__getitem__)


def _layers(
    graph: StateGraph, states: Sequence[Drawn], edges: Sequence[tuple[Drawn, Drawn]]
) -> tuple[list[list[_Place]], list[_Way]]:
    """Return the layers, which are of states and of labels in turn, and the way of each edge through them."""
    depths = {depth: number for number, depth in enumerate(sorted({depth for depth, _ in states}))}
    layers: list[list[_Place]] = [[] for _ in range(2 * len(depths))]
    shown = _texts(states)
    placed = {drawn: _Place(shown[drawn], drawn, [], []) for drawn in sorted(states, key=graph.places.__getitem__)}
    for drawn, place in placed.items():
        layers[2 * depths[drawn[0]]].append(place)
    ways: list[_Way] = []
    for edge in edges:
        before, after = (depths[depth] for depth, _ in edge)
        way = [placed[edge[0]], _Place(tuple(_label(graph, edge)), None, [], [])]
        layers[2 * before + 1].append(way[1])
        for layer in range(2 * before + 2, 2 * after):
            way.append(_Place((), None, [], []))
            layers[layer].append(way[-1])
        way.append(placed[edge[1]])
        for one, next_one in pairwise(way):
            one.right.append(next_one)
            next_one.left.append(one)
        ways.append((edge, way))
    return [layer for layer in layers if layer], ways


def _order(layers: list[list[_Place]]) -> None:
    """Sort the places of each layer by their neighbours, and keep the order in which the fewest edges cross."""
    best, fewest = [list(layer) for layer in layers], _crossings(layers)
    for sweep in range(_SWEEPS):
        if not fewest:
            break
        to_right = sweep % 2 == 0
        for layer in layers[1:] if to_right else layers[-2::-1]:
            at = {id(place): number for other in layers for number, place in enumerate(other)}
            means = {}
            for place in layer:
                others = [at[id(each)] for each in (place.left if to_right else place.right)]
                means[id(place)] = sum(others) / len(others) if others else at[id(place)]
            layer.sort(key=lambda place: means[id(place)])
        if (crossings := _crossings(layers)) < fewest:
            best, fewest = [list(layer) for layer in layers], crossings
    layers[:] = best


def _crossings(layers: Sequence[Sequence[_Place]]) -> int:
    """Return how many pairs of edges cross."""
    crossings = 0
    for layer, following in pairwise(layers):
        at = {id(place): number for number, place in enumerate(following)}
        ends: list[int] = []
        for place in layer:
            own = sorted(at[id(each)] for each in place.right if id(each) in at)
            crossings += sum(end > each for each in own for end in ends)
            ends += own
    return crossings


def _position(layers: Sequence[Sequence[_Place]]) -> tuple[float, float]:
    """Give each place its coordinates, and return the width and the height of all."""
    if not layers:
        return 2 * _MARGIN, _MARGIN
    x = float(_MARGIN)
    for layer in layers:
        width = max(place.width for place in layer)
        y = 0.0
        for place in layer:
            place.x, place.y = x, y + place.height / 2
            y += place.height + _BETWEEN
        x += width + _GAP
    for sweep in range(_SWEEPS):
        for layer in layers if sweep % 2 == 0 else layers[::-1]:
            _pull(layer)
    top = min(place.y - place.height / 2 for layer in layers for place in layer) - _MARGIN
    for layer in layers:
        for place in layer:
            place.y -= top
    return x - _GAP + _MARGIN, max(place.y + place.height / 2 for layer in layers for place in layer)


def _pull(layer: Sequence[_Place]) -> None:
    """Move each place to the mean height of its neighbours, as near as the order and the distances allow.

    Places that would be too near to each other are joined to a block, which moves to the mean of their wishes.
    """
    offsets = [0.0]
    for one, other in pairwise(layer):
        offsets.append(offsets[-1] + (one.height + other.height) / 2 + _BETWEEN)
    #: The sum of the wishes of each block, without the offsets, and its number of places.
    blocks: list[tuple[float, int]] = []
    for place, offset in zip(layer, offsets, strict=True):
        others = [*place.left, *place.right]
        wish = sum(each.y for each in others) / len(others) if others else place.y
        blocks.append((wish - offset, 1))
        while len(blocks) > 1 and blocks[-2][0] / blocks[-2][1] > blocks[-1][0] / blocks[-1][1]:
            total, number = blocks.pop()
            blocks[-1] = (blocks[-1][0] + total, blocks[-1][1] + number)
    moved = iter(zip(layer, offsets, strict=True))
    for total, number in blocks:
        for _ in range(number):
            place, offset = next(moved)
            place.y = total / number + offset


def _edge(graph: StateGraph, edge: tuple[Drawn, Drawn], way: Sequence[_Place]) -> Iterator[str]:
    style = " ".join(name for name, named in (("failing", graph.failing), ("back", graph.backwards)) if edge in named)
    first, label, *passed, last = way
    x, y = first.x + first.width, first.line
    course = f"M{x:.1f} {y:.1f}"
    for place in (label, *passed):
        course += f"{_curve(x, y, place.x, place.line)} H{place.x + place.width:.1f}"
        x, y = place.x + place.width, place.line
    if last.x > x:
        course += _curve(x, y, last.x, last.y) + " m-7 -4 l7 4 l-7 4"
    else:
        # The state is in the layer before, because a retry is not one more callback.
        side, back = x + _GAP * 0.7, last.x + last.width
        course += f" C{side:.1f} {y:.1f} {side:.1f} {last.y:.1f} {back:.1f} {last.y:.1f} m7 -4 l-7 4 l7 4"
    yield f'<path class="{f"edge {style}".strip()}" d="{course}"/>'
    for number, line in enumerate(label.lines):
        above = label.line - 4 - (len(label.lines) - 1 - number) * _LINE
        # The label of the failure is the first; the others lead to the same state.
        shown = style if number == 0 else style.replace("failing", "")
        yield _text(label.x + _PAD, above, line, " ".join(["label", *shown.split()]))


def _curve(x: float, y: float, to_x: float, to_y: float) -> str:
    middle = (x + to_x) / 2
    return f" C{middle:.1f} {y:.1f} {middle:.1f} {to_y:.1f} {to_x:.1f} {to_y:.1f}"


def _state(graph: StateGraph, place: _Place) -> Iterator[str]:
    assert place.drawn is not None
    failing = any(place.drawn in edge for edge in graph.failing)
    style = "state" + " fork" * (place.drawn in graph.forks) + " failing" * failing
    top = place.y - place.height / 2
    yield (
        f'<rect class="{style}" x="{place.x:.1f}" y="{top:.1f}" width="{place.width:.1f}" '
        f'height="{place.height:.1f}" rx="5"><title>{_escaped(place.drawn[1])}</title></rect>'
    )
    for number, line in enumerate(place.lines):
        yield _text(place.x + _PAD, top + _PAD + 12 + number * _LINE, line, "in-state" + " failing" * failing)


def _text(x: float, y: float, line: str, style: str) -> str:
    return (
        f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="start" textLength="{_width(line):.1f}" '
        f'lengthAdjust="spacingAndGlyphs">{escape(line)}</text>'
    )


def _label(graph: StateGraph, edge: tuple[Drawn, Drawn]) -> Iterator[str]:
    labels = list(graph.edges[edge])
    for label in labels[:_LABELS]:
        yield _fitting(label)
    if len(labels) > _LABELS:
        yield f"and {len(labels) - _LABELS} more"


def _texts(states: Sequence[Drawn]) -> dict[Drawn, tuple[str, ...]]:
    """Return the lines of each state: of mappings, the keys that differ between the states, one in each line."""
    read = {drawn: _mapping(drawn[1]) for drawn in states}
    known = [mapping for mapping in read.values() if mapping]
    keys = list(dict.fromkeys(key for mapping in known for key in mapping))
    changing = [key for key in keys if any(each.get(key) != known[0].get(key) for each in known)]
    changing = changing if len(known) > 1 and changing else keys
    lines = {}
    for drawn, mapping in read.items():
        if mapping is None:
            shown = textwrap.wrap(printable(drawn[1]), _CHARACTERS) or ["''"]
        else:
            shown = [f"{key}={mapping[key]}" for key in changing if key in mapping] or ["{}"]
        shown = [_fitting(line) for line in shown]
        lines[drawn] = tuple(shown if len(shown) <= _LINES else [*shown[: _LINES - 1], "…"])
    return lines


def _mapping(text: str) -> dict[str, str] | None:
    """Return a state as keys and values, if it is a mapping, or has one for each message."""
    try:
        state = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    if isinstance(state, Mapping):
        return {str(key): repr(value) for key, value in state.items()}
    if isinstance(state, tuple) and state and all(isinstance(each, (Mapping, type(None))) for each in state):
        return {f"{key}#{n}": repr(each[key]) for n, each in enumerate(state, 1) for key in each or ()}
    return None


def _notes(graph: StateGraph, states: Iterable[Drawn], edges: Sequence[object], width: float) -> list[str]:
    """Return the lines that explain the picture, and say what is not in it."""
    notes = []
    if graph.failing:
        notes.append("bold: the schedule that fails")
    if graph.backwards & {*edges}:
        notes.append("red, dashed: the status goes back")
    if {*graph.forks} & {*states}:
        notes.append("red states: the same callbacks ended differently")
    shown, loops = len({*states}), sum(before == after for before, after in graph.edges)
    if shown < len(graph.places) or len(edges) < len(graph.edges) - loops:
        notes.append(f"drawn: {shown} of {len(graph.places)} states, {len(edges)} of {len(graph.edges) - loops} edges")
    if graph.cut:
        notes.append("there were more edges than are kept")
    return textwrap.wrap("; ".join(notes), min(80, max(40, int((width - 2 * _MARGIN) / _ADVANCE))))


def _described(graph: StateGraph, states: Mapping[Drawn, None], edges: Sequence[tuple[Drawn, Drawn]]) -> str:
    """Return the picture in words, for a screen reader."""
    red = len(graph.backwards & {*edges})
    words = [f"{len(states)} states and {len(edges)} edges; in {red} of them the status goes back."]
    path = [edge for edge in graph.edges if edge in graph.failing]
    for before, after in sorted(path, key=lambda edge: edge[0][0]):
        words.append(f"{', '.join(graph.edges[before, after])} leads from {before[1]} to {after[1]}.")
    return " ".join(words if len(words) == 1 else [words[0], "The failure:", *words[1:]])


def _fitting(line: str) -> str:
    shown = printable(line)
    return shown if len(shown) <= _CHARACTERS else f"{shown[: _CHARACTERS - 1]}…"


def _width(line: str) -> float:
    """Return the width of a line in a typewriter face, in which some characters are twice as wide."""
    return sum(_ADVANCE * (2 if unicodedata.east_asian_width(c) in "WF" else 1) for c in line)


def _escaped(text: str) -> str:
    return escape(printable(text))
