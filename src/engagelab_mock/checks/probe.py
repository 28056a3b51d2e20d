"""Seeing the state of a receiver's app: what `observe` returns, kept by value so that it can be compared later."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

#: How deep a value is taken apart; what is deeper is kept as its text.
_DEPTH = 12


class Snapshot(msgspec.Struct, frozen=True):
    """Hold what `observe` returned for a message at one moment: equal to another if nothing changed between.

    >>> Snapshot("7", ["sent"]) == Snapshot("7", ["sent"])
    True
    """

    message_id: str
    value: Any
    #: What `observe` raised instead: for many an app that is how it says that it knows no such message.
    error: str = ""

    def __str__(self) -> str:
        return self.error or repr(self.value)


class Probe:
    """Ask `observe` for the state of messages.

    >>> states = {"7": ["sent"]}
    >>> probe = Probe(states.__getitem__)
    >>> before = probe.look("7")
    >>> states["7"].append("delivered")
    >>> print(before, probe.look("7"), probe.look("8"))
    ['sent'] ['sent', 'delivered'] KeyError: '8'
    """

    def __init__(self, observe: Callable[[str], Any]) -> None:
        self._observe = observe

    def look(self, message_id: str) -> Snapshot:
        """Return the state of a message as it is now."""
        try:
            return Snapshot(message_id, plain(self._observe(message_id)))
        except Exception as error:
            return Snapshot(message_id, None, f"{type(error).__name__}: {error}")


def plain(value: Any, depth: int = _DEPTH) -> Any:
    """Return a value as plain data that no later change of it reaches.

    >>> plain({"at": 1, "statuses": ("sent",)})
    {'at': 1, 'statuses': ['sent']}
    """
    if value is None or isinstance(value, (bool, int, float, str, bytes)):
        return value
    if depth == 0:
        return repr(value)
    if isinstance(value, Mapping):
        return {plain(key, 0): plain(each, depth - 1) for key, each in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted((plain(each, depth - 1) for each in value), key=repr)
    if isinstance(value, (list, tuple)):
        return [plain(each, depth - 1) for each in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name), depth - 1) for field in dataclasses.fields(value)}
    if isinstance(value, msgspec.Struct):
        return {name: plain(getattr(value, name), depth - 1) for name in value.__struct_fields__}
    # The text of an object, such as one of an ORM, seldom shows all of it, and changes with its address.
    fields = {name: each for name, each in getattr(value, "__dict__", {}).items() if not name.startswith("_")}
    return {type(value).__name__: plain(fields, depth - 1)} if fields else repr(value)
