"""Merge equal states: play only the schedules that reach something new, and predict the end of all others.

Two schedules that have delivered the same callbacks and left the same state have the same continuations, if `observe`
shows all that matters. So the search follows a graph. A node holds the deliveries, their answers, and the state.
An edge is the next callback. A schedule is played, from its first callback to its last, only if an edge of it is not
known yet. Such a playing also passes known edges. If it finds other states than the graph predicts, `observe` hides
something, and the search ends with `HiddenState`. The audit plays a sample of the other schedules for the same reason.

Every edge and every end is part of a schedule that was played and judged. That suffices for an invariant that judges
single steps and final states. For `never_regresses`, the search also follows the known edges with the greatest rank so
far, and plays the schedules in which a state would be of a lower rank.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from random import Random
from typing import Any

import msgspec

from engagelab_mock.delivery.io import Io
from engagelab_mock.explore.baseline import SETTLES
from engagelab_mock.explore.comparison import Comparison, Key, Steps, hidden
from engagelab_mock.explore.exploration import Merging
from engagelab_mock.explore.families import Family, Following
from engagelab_mock.explore.graph import Drawn, StateGraph, goes_back
from engagelab_mock.explore.invariants import Invariant, needs_state, rank
from engagelab_mock.explore.lifecycle import names_of
from engagelab_mock.explore.played import Played, text_of
from engagelab_mock.explore.player import Player
from engagelab_mock.explore.schedule import Schedule, Step, short_fault, tidy
from engagelab_mock.explore.schedules import Schedules, expand
from engagelab_mock.messages.scenario import Scenario

#: The greatest number of nodes that are kept at a time.
MOST_NODES = 50_000
#: Up to how many schedules are all made, to choose some for the audit. Of more, each is drawn: at most so many times,
#: until it is one that was not played.
_FEW, _DRAWS = 2_000, 20

#: The greatest rank so far of each message's states, for each invariant that judges by it.
_Ranks = tuple[int, ...]


class CannotMerge(Exception):
    """The states cannot be merged; the text says why."""


class _Node(msgspec.Struct, eq=False):
    key: Key
    #: The state as it was first seen, and as text.
    state: Any
    drawn: Drawn
    #: By the next step. None stands for the end: the retries.
    edges: dict[Step | None, _Edge]
    #: How many schedules end behind this node, once all were followed: by the rule for the next event, and the ranks.
    counts: dict[tuple[int, _Ranks], int]

    @property
    def delivered(self) -> Steps:
        return self.key[0]


class _Edge(msgspec.Struct, frozen=True, eq=False):
    target: _Node
    #: The steps of the playing that found the edge, to its target.
    via: Steps
    #: The states that it led to, one after the other; none if it changed nothing.
    states: tuple[Any, ...]


class Search:
    """Yield the schedules that must be played, in the order of all schedules; `learn` from each playing."""

    def __init__(
        self, plan: Schedules, player: Player, invariants: Sequence[Invariant], *, audit: int, seed: object
    ) -> None:
        self.merging = Merging()
        #: How many schedules, from the first one, have been played or predicted.
        self.represented = 0
        self._plan = plan
        self._player = player
        #: The invariants that judge by the greatest rank so far.
        self._ranked = [each for each in invariants if getattr(each, "rank", None) is not None]
        parts = [getattr(invariant, "seeks", None) for invariant in invariants]
        judged = None if any(map(callable, parts)) else [part for part in parts if isinstance(part, str)]
        self._comparison = Comparison(judged)
        self._audit = audit
        self._random = Random(f"{seed}:audit")
        self._last: Played | None = None
        self._begun: set[tuple[str, ...]] = set()
        self._played: set[tuple[tuple[str, ...], Steps]] = set()
        self._roots: dict[tuple[str, ...], _Node] = {}
        self._nodes: dict[tuple[tuple[str, ...], Key], _Node] = {}
        #: Whether the graph must be made again, because it compared values that differ by themselves.
        self._stale = False
        #: The nodes on the way to where the search is, with the steps that are left at each.
        self._path: list[tuple[_Node, deque[Step], int, _Ranks]] = []
        self._steps: list[Step] = []
        self._following: tuple[tuple[Scenario, ...], Following] | None = None
        self._sampled: deque[Schedule] = deque()

    def __iter__(self) -> Iterator[Schedule]:
        while True:
            self._stale, self.represented = False, 0
            self._path, self._sampled = [], deque()
            self._nodes.clear()
            self._roots.clear()
            self.merging.nodes, self.merging.merged, self.merging.graph = 0, 0, StateGraph()
            for schedule in chain(self._new(), self._audited()):
                yield schedule
                if self._stale:
                    break
            else:
                return

    def _new(self) -> Iterator[Schedule]:
        """Yield the schedules that have a new edge, until all are represented, or as many as the limit says."""
        most = len(self._plan)
        mark = 0
        for family in self._plan.families:
            for following in family.followings:
                mark += 1
                yield from self._follow(family.lifecycles, following, mark, most)
                if self.represented >= most:
                    self.represented = min(self.represented, most)
                    return

    def _follow(
        self, lifecycles: tuple[Scenario, ...], following: Following, mark: int, most: int
    ) -> Iterator[Schedule]:
        """Search the graph depth first, along this rule for the next event."""
        names = tuple([scenario.name for scenario in lifecycles])
        if names not in self._roots:
            yield _schedule(lifecycles, _completed(following, ()))
        root, none = self._roots[names], (-1,) * len(self._ranked) * len(names)
        if not following(()):
            self.represented += 1
            return
        self._following = (lifecycles, following)
        path = self._path = [(root, deque(following(())), self.represented, none)]
        steps: list[Step] = []
        self._steps = steps
        while path:
            node, left, before, ranks = path[-1]
            step = left.popleft() if left else None
            if step is None:
                node.counts[mark, ranks] = self.represented - before
                path.pop()
                del steps[-1:]
                continue
            taken = (*steps, step)
            if self._is_new(node.edges.get(step), ranks):
                schedule = _schedule(lifecycles, _completed(following, taken))
                # For a lower rank, it may have been played because of another of its steps.
                if step not in node.edges or not self.was_played(schedule):
                    yield schedule
            edge = node.edges[step]
            target, ranks = edge.target, self._after(edge, ranks)
            rest = following(target.delivered)
            if not rest:
                schedule = _schedule(lifecycles, taken)
                if self._is_new(target.edges.get(None), ranks) and not self.was_played(schedule):
                    yield schedule
                self.represented += 1
            elif (mark, ranks) in target.counts:
                self.represented += target.counts[mark, ranks]
            else:
                path.append((target, deque(rest), self.represented, ranks))
                steps.append(step)
            if self.represented >= most:
                return
            if len(self._nodes) > MOST_NODES:
                self._forget([each for each, *_ in path])

    def upcoming(self) -> Iterator[Schedule]:
        """Yield schedules that must be played in any case, those that come next first."""
        yield from self._sampled
        for depth in range(len(self._path) - 1, -1, -1):
            node, left, _, ranks = self._path[depth]
            for step in left:
                if self._following is not None and self._is_new(node.edges.get(step), ranks):
                    lifecycles, following = self._following
                    yield _schedule(lifecycles, _completed(following, (*self._steps[:depth], step)))

    def was_played(self, schedule: Schedule) -> bool:
        """Tell whether this schedule was played and judged; it is played again if the graph is made again."""
        return (names_of(schedule.lifecycles), tuple(expand(schedule))) in self._played

    def _is_new(self, edge: _Edge | None, ranks: _Ranks) -> bool:
        """Tell whether an edge must be played: it is not known, or leads to a state of a lower rank."""
        return edge is None or any(
            new is not None and new < old
            for state in edge.states
            for new, old in zip(self._ranks(state, len(ranks)), self._after(edge, ranks), strict=True)
        )

    def _after(self, edge: _Edge, ranks: _Ranks) -> _Ranks:
        """Return the greatest ranks after an edge."""
        for state in edge.states:
            new = self._ranks(state, len(ranks))
            ranks = tuple([old if each is None else max(old, each) for each, old in zip(new, ranks, strict=True)])
        return ranks

    def _ranks(self, state: Any, number: int) -> list[int | None]:
        """Return the rank of each message's state for each invariant that judges by it."""
        several = number > len(self._ranked)
        return [rank(each, own) for each in self._ranked for own in (state if several else (state,))]

    def _forget(self, path: list[_Node]) -> None:
        """Empty the graph but for this path. The search goes on, and plays the forgotten parts again."""
        self.merging.emptied += 1
        kept = {id(node) for node in path}
        for node in path:
            node.edges = {step: edge for step, edge in node.edges.items() if id(edge.target) in kept}
        self._nodes = {key: node for key, node in self._nodes.items() if id(node) in kept}

    def _audited(self) -> Iterator[Schedule]:
        """Yield schedules that were predicted and not played, chosen at random with the seed."""
        self._sampled = deque(self._sample() if len(self._plan) > _FEW else self._some_of(self._plan))
        while self._sampled:
            yield self._sampled.popleft()
            self.merging.audited += 1

    def _some_of(self, schedules: Iterable[Schedule]) -> list[Schedule]:
        left = [each for each in schedules if not self.was_played(each)]
        return self._random.sample(left, min(self._audit, len(left)))

    def _sample(self) -> Iterator[Schedule]:
        """Draw schedules without making all of them."""
        known = {*self._played}
        for _ in range(self._audit):
            for _ in range(_DRAWS):
                [family] = self._random.choices(self._plan.families, [each.count for each in self._plan.families])
                steps = self._drawn_from(family)
                names = tuple([scenario.name for scenario in family.lifecycles])
                if (names, steps) not in known and self._predicts(names, steps):
                    known.add((names, steps))
                    yield _schedule(family.lifecycles, steps)
                    break

    def _drawn_from(self, family: Family) -> Steps:
        following = self._random.choice(family.followings)
        steps: Steps = ()
        while following(steps):
            steps = (*steps, self._random.choice(following(steps)))
        return steps

    def _predicts(self, names: tuple[str, ...], steps: Steps) -> bool:
        node = self._roots.get(names)
        for step in steps:
            edge = None if node is None else node.edges.get(step)
            node = None if edge is None else edge.target
        return node is not None and None in node.edges

    async def begin(self, io: Io, schedule: Schedule) -> Played | None:
        """Find the values to compare, before the first schedule of these lifecycles; return the played schedule."""
        __tracebackhide__ = True
        names = names_of(schedule.lifecycles)
        if names in self._begun:
            return None
        self._begun.add(names)
        return await self._comparison.begin(io, self._player, schedule.lifecycles)

    def notes(self, invariants: Sequence[Invariant]) -> list[str]:
        """Return what limits the result: invariants that saw only the played schedules, or states that never merged."""
        merging, notes = self.merging, []
        own = [getattr(each, "__name__", repr(each)) for each in invariants if not needs_state(each)]
        if own:
            judges = f"{', '.join(own)} judged the {merging.played} schedules that were played"
            notes.append(f"{judges}, because merging keeps no history; history=True plays every schedule")
        if not merging.merged and merging.played > 1 and (why := self._why_nothing_merged()):
            notes.append(f"no states were merged: {why}")
        if merging.emptied:
            notes.append(f"the graph was emptied {merging.emptied} times, because it had {MOST_NODES} states")
        return notes

    def _why_nothing_merged(self) -> str:
        """Say what differs between two nodes at which the same callbacks were delivered."""
        known: dict[tuple[tuple[str, ...], Steps], _Node] = {}
        for (names, key), node in self._nodes.items():
            other = known.setdefault((names, key[0]), node)
            if other is not node and self._last is not None and names_of(self._last.schedule.lifecycles) == names:
                if other.key[-1] == key[-1]:
                    return "the same callbacks were answered differently in another order"
                return self._comparison.why(self._last, other.state, node.state)
        return ""

    async def learn(self, io: Io, played: Played) -> None:
        """Enter a playing in the graph; raise `HiddenState` if the graph predicted other states."""
        __tracebackhide__ = True
        if self._player.new_messages and any(_shows_id(played, state) for state in played.states):
            raise CannotMerge("the states hold the ids of messages, and without reset each schedule is about a new one")
        self._last = played
        names = names_of(played.schedule.lifecycles)
        first, *others = self._comparison.passed(played)
        steps: Steps = ()
        [state] = first.states
        node = self._roots.get(names)
        if node is None:
            node = self._roots[names] = self._node(names, first.key, state, played)
        elif node.key != first.key:
            # Either this value differs by itself, or the app is not reset completely, which `check_reset` finds.
            self._stale = self._comparison.add(played, node.state, state)
            return
        for each in others:
            step = each.step
            state = each.states[-1] if each.states else state
            steps = steps if step is None else (*steps, step)
            edge = node.edges.get(step)
            if edge is None:
                known = len(self._nodes)
                target = self._node(names, each.key, state, played)
                self.merging.merged += step is not None and len(self._nodes) == known
                node.edges[step] = edge = _Edge(target, steps, each.states)
                self._draw(node, target, step, played)
            elif edge.target.key != each.key:
                await self._contradicted(io, played.schedule.lifecycles, edge, steps, ended=step is None)
                return
            node = edge.target
        self.merging.played += 1
        if len(self._played) < MOST_NODES:
            self._played.add((names, steps))

    def _node(self, names: tuple[str, ...], key: Key, state: Any, played: Played) -> _Node:
        """Return the node with this key; make it if it is new."""
        node = self._nodes.get((names, key))
        if node is None:
            drawn = (len(key[0]), text_of(state, played))
            node = self._nodes[names, key] = _Node(key, state, drawn, {}, {})
            self.merging.nodes += 1
        return node

    def _draw(self, node: _Node, target: _Node, step: Step | None, played: Played) -> None:
        graph, states = self.merging.graph, (node.state, target.state)
        if target.drawn != node.drawn or step is not None:
            fault = f"!{short_fault(step.fault)}" if step is not None and step.fault else ""
            label = "retries" if step is None else "+".join(step.events) + fault
            each = [[played.state_of(state, n) for state in states] for n in range(len(played.messages))]
            backwards = any(goes_back(before, after) for before, after in each)
            graph.add(node.drawn, target.drawn, label, backwards=backwards)
        if step is None:
            graph.end(target.drawn, played.schedule.events)

    async def _contradicted(
        self, io: Io, lifecycles: tuple[Scenario, ...], edge: _Edge, steps: Steps, *, ended: bool
    ) -> None:
        """Find out why the last step of two playings led to different states: play both again, the first one twice.

        A difference between two playings of the same schedule is not compared from now on. Nor is one that depends only
        on when they were played.
        """
        __tracebackhide__ = True
        one, other = _schedule(lifecycles, edge.via), _schedule(lifecycles, steps)
        first, again, second = [await self._player.play(io, each, afresh=True) for each in (one, one, other)]
        await self._player.check_settled(io, SETTLES)
        ends = [self._comparison.passed(each)[: None if ended else len(steps) + 1] for each in (first, again, second)]
        expected, same, found = [[state for each in passed for state in each.states][-1] for passed in ends]
        compares = self._comparison.add
        if compares(first, expected, same, again) or (
            ends[0][-1].key == ends[2][-1].key and compares(first, edge.target.state, expected, first)
        ):
            self._stale = True
            return
        raise hidden(first, second, expected, found)


def _schedule(lifecycles: tuple[Scenario, ...], steps: Steps) -> Schedule:
    return Schedule(lifecycles, tidy(steps))


def _completed(following: Following, steps: Steps) -> Steps:
    """Return the first complete schedule that begins with these steps."""
    while rest := following(steps):
        steps = (*steps, rest[0])
    return steps


def _shows_id(played: Played, state: Any) -> bool:
    text = repr(state)
    return any(message.id in text for message in played.messages)
