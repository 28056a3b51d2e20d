"""What pytest says when two status sequences, or two events, are not equal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from engagelab_mock.protocol.dialect import DIALECTS
from engagelab_mock.protocol.event_table import EVENTS
from engagelab_mock.protocol.events import Event

#: What `run.statuses` and `journal.statuses` can hold.
_NAMES = frozenset({*EVENTS, *(known.sent_failed for known in DIALECTS.values())})


def explain(left: object, right: object) -> list[str] | None:
    """Return the lines that explain `left == right`, or None when neither is ours.

    >>> explain(["plan", "sent"], ["plan", "delivered"])[1:]
    ['first difference at index 1: sent, not delivered', '  plan', '- delivered', '+ sent']
    """
    if isinstance(left, Event) and isinstance(right, Event):
        return _events(left, right)
    if _is_sequence(left) and _is_sequence(right):
        return _sequences(left, right)
    return None


def _is_sequence(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, str) and each in _NAMES for each in value)


def _sequences(left: Any, right: Any) -> list[str]:
    got: Sequence[str] = left
    wanted: Sequence[str] = right
    common = 0
    while common < min(len(got), len(wanted)) and got[common] == wanted[common]:
        common += 1
    here = got[common] if common < len(got) else "nothing"
    there = wanted[common] if common < len(wanted) else "the end"
    return [
        f"{' → '.join(got)} == {' → '.join(wanted)}",
        f"first difference at index {common}: {here}, not {there}",
        *(f"  {status}" for status in got[:common]),
        *(f"- {status}" for status in wanted[common:]),
        *(f"+ {status}" for status in got[common:]),
    ]


def _events(left: Event, right: Event) -> list[str]:
    if type(left).__name__ != type(right).__name__:
        return [f"{left.name} ({left.kind}) == {right.name} ({right.kind})", "the events are of different kinds"]
    # What is no JSON can stand in an event all the same, and an explanation that raises is none.
    got = dict(_fields(msgspec.to_builtins(left, enc_hook=repr), ""))
    wanted = dict(_fields(msgspec.to_builtins(right, enc_hook=repr), ""))
    lines = [f"{left.name} == {right.name}, two events of kind {left.kind}"]
    for path in [*got, *(path for path in wanted if path not in got)]:
        if got.get(path, _ABSENT) != wanted.get(path, _ABSENT):
            lines.append(f"{path}: {_show(got, path)} != {_show(wanted, path)}")
    return lines


_ABSENT = object()


def _fields(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _fields(inner, f"{path}.{name}" if path else name)
    else:
        yield path, value


def _show(fields: dict[str, Any], path: str) -> str:
    return repr(fields[path]) if path in fields else "absent"
