"""The graph of the states that an exploration saw: as DOT for Graphviz, for Mermaid, or as an SVG picture."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence
from itertools import count, groupby
from typing import Any

import msgspec

from engagelab_mock.delivery.render import printable
from engagelab_mock.errors import UnknownName
from engagelab_mock.explore.played import Played, Record, text_of
from engagelab_mock.explore.schedule import Schedule
from engagelab_mock.explore.state import status_in
from engagelab_mock.protocol.status import PROGRESS

#: A state as it is drawn: how many callbacks were delivered, and the state as text.
Drawn = tuple[int, str]

#: The place of each status in the progress of a message.
_PLACES = {status: place for place, status in enumerate(PROGRESS)}
_RED = "#c62828"
#: The greatest number of characters of a state in a node, and of labels on an edge.
_CHARACTERS, _LABELS = 60, 4
#: The greatest number of edges. Larger graphs cannot be looked at, and the memory is bounded.
_MOST = 2_000


class StateGraph(msgspec.Struct, eq=False):
    """Collect the states by depth, and the callbacks that lead from one to the next.

    >>> graph = StateGraph()
    >>> graph.add((0, "None"), (1, "'sent'"), "sent")
    >>> print(graph.text("mermaid"))
    flowchart TD
      s0["None"]
      s1["'sent'"]
      s0 -->|"sent"| s1
    """

    #: For each edge, its labels.
    edges: dict[tuple[Drawn, Drawn], dict[str, None]] = {}
    #: The number of each state, in the order in which they were found.
    places: dict[Drawn, int] = {}
    backwards: set[tuple[Drawn, Drawn]] = set()
    #: The states after all events, by the events.
    ends: dict[tuple[str, ...], dict[Drawn, None]] = {}
    failing: set[tuple[Drawn, Drawn]] = set()
    #: Whether there were more edges than are drawn.
    cut: bool = False

    def add(self, before: Drawn, after: Drawn, label: str, *, backwards: bool = False) -> None:
        """Enter an edge; `backwards` marks a status that goes back."""
        if len(self.edges) >= _MOST and (before, after) not in self.edges:
            self.cut = True
            return
        for drawn in (before, after):
            self.places.setdefault(drawn, len(self.places))
        self.edges.setdefault((before, after), {})[label] = None
        if backwards:
            self.backwards.add((before, after))

    def end(self, drawn: Drawn, events: Sequence[str]) -> None:
        """Enter the state after all of these events. If they end in several states, those are marked."""
        if drawn in self.places:
            self.ends.setdefault(tuple(sorted(set(events))), {})[drawn] = None

    def enter(self, played: Played) -> None:
        """Enter each step of a schedule that was played."""
        if self.cut:
            return
        path = path_of(played)
        for edge in path:
            self.add(edge.before, edge.after, edge.label, backwards=edge.backwards)
        if path:
            self.end(path[-1].after, played.schedule.events)

    def mark(self, played: Played) -> None:
        """Mark the path of a failure; a retry that changes nothing is not drawn."""
        for edge in path_of(played):
            if edge.before != edge.after:
                self.add(edge.before, edge.after, edge.label, backwards=edge.backwards)
                self.failing.add((edge.before, edge.after))
                self.edges[edge.before, edge.after] = {edge.label: None, **self.edges[edge.before, edge.after]}

    def text(self, form: str) -> str:
        """Return the graph as "dot", "mermaid" or "svg"."""
        forms: dict[str, Callable[[], Iterator[str]]] = {"dot": self._dot, "mermaid": self._mermaid}
        if form == "svg":
            from engagelab_mock.explore.picture import picture  # few explorations are drawn

            return picture(self)
        if form not in forms:
            raise UnknownName("form", form, [*forms, "svg"], where="graph")
        cut = {"dot": "//", "mermaid": "%%"}[form] + f" only the first {_MOST} edges are drawn"
        return "\n".join([*forms[form](), *[cut] * self.cut])

    @property
    def forks(self) -> dict[Drawn, None]:
        """Return the ends at which the same events left different states."""
        several = [ends for ends in self.ends.values() if len({text for _, text in ends}) > 1]
        return dict.fromkeys(drawn for ends in several for drawn in ends)

    def _dot(self) -> Iterator[str]:
        yield "digraph states {"
        yield "  rankdir=TB; node [shape=box, style=rounded];"
        forks = self.forks
        for drawn, place in self.places.items():
            yield f'  s{place} [label="{_escaped(drawn[1])}"{f", color={_quoted(_RED)}" if drawn in forks else ""}];'
        for edge, labels in self.edges.items():
            looks = [f'label="{_escaped(_joined(labels))}"']
            looks += [f"color={_quoted(_RED)}"] if edge in self.backwards else []
            looks += ["style=bold", "penwidth=3"] if edge in self.failing else []
            yield f"  s{self.places[edge[0]]} -> s{self.places[edge[1]]} [{', '.join(looks)}];"
        for depth in sorted({depth for depth, _ in self.places}):
            same = " ".join(f"s{place};" for drawn, place in self.places.items() if drawn[0] == depth)
            yield f"  {{ rank=same; {same} }}"
        yield "}"

    def _mermaid(self) -> Iterator[str]:
        yield "flowchart TD"
        for drawn, place in self.places.items():
            yield f'  s{place}["{_entities(drawn[1])}"]'
        for edge, labels in self.edges.items():
            arrow = "==>" if edge in self.failing else "-->"
            yield f'  s{self.places[edge[0]]} {arrow}|"{_entities(_joined(labels))}"| s{self.places[edge[1]]}'
        red = [str(place) for place, edge in enumerate(self.edges) if edge in self.backwards]
        if red:
            yield f"  linkStyle {','.join(red)} stroke:{_RED}"
        for drawn in self.forks:
            yield f"  style s{self.places[drawn]} stroke:{_RED}"


class Passed(msgspec.Struct, frozen=True, eq=False):
    """Hold one step of a played schedule as it is drawn."""

    before: Drawn
    after: Drawn
    label: str
    backwards: bool


def path_of(played: Played) -> list[Passed]:
    """Return the steps of a played schedule as they are drawn: callbacks at the same time are one step.

    >>> from engagelab_mock import EngageLab
    >>> with EngageLab() as engagelab:
    ...     [passed] = path_of(engagelab.play("eg1:plan"))
    >>> passed.before, passed.label, passed.after
    ((0, 'None'), 'plan', (1, 'None'))
    """
    path: list[Passed] = []
    depth, text = 0, text_of(played.initial, played)
    for (index, *_), group in groupby(played.records, key=_step_of(played)):
        records, step = list(group), played.schedule.steps[index]
        first, last, start = records[0], records[-1], (depth, text)
        if last.after is not first.before:
            text = text_of(last.after, played)
        label = first.label
        if first.attempt.number == 1:
            depth += len(records)
            if step.beside or step.crash:
                label = Schedule(played.schedule.lifecycles, (step,)).token.rpartition(":")[2]
        pairs = [
            (played.state_of(first.before, n), played.state_of(last.after, n)) for n in range(len(played.messages))
        ]
        path.append(Passed(start, (depth, text), label, any(goes_back(*pair) for pair in pairs)))
    return path


def _step_of(played: Played) -> Callable[[Record], tuple[int, int]]:
    """Return the function that groups the first attempts of callbacks at the same time."""
    number = count()

    def step(record: Record) -> tuple[int, int]:
        together = played.schedule.steps[record.step].beside and record.attempt.number == 1
        return record.step, -1 if together else next(number)

    return step


def goes_back(before: Any, after: Any) -> bool:
    """Tell whether the status in a state is earlier in the progress of a message than the status before.

    >>> goes_back("delivered", "sent"), goes_back({"status": "sent"}, {"status": "delivered"}), goes_back(None, "sent")
    (True, False, False)
    """
    places = [_PLACES.get(status_in(state)) for state in (before, after)]
    return places[0] is not None and places[1] is not None and places[0] > places[1]


def _joined(labels: dict[str, None]) -> str:
    shown = list(labels)[:_LABELS]
    more = len(labels) - len(shown)
    return ", ".join([*shown, f"{more} more"] if more else shown)


def _short(text: str) -> str:
    return textwrap.shorten(printable(text), _CHARACTERS, placeholder=" …")


def _quoted(text: str) -> str:
    return f'"{text}"'


def _escaped(text: str) -> str:
    return _short(text).replace("\\", "\\\\").replace('"', '\\"')


def _entities(text: str) -> str:
    """Return a text for Mermaid, in which a quotation mark and brackets of HTML have a meaning."""
    return _short(text).replace("&", "#amp;").replace('"', "#quot;").replace("<", "#lt;").replace(">", "#gt;")
