"""Where an engine's state is kept, so that another process can go on with it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Protocol, TypeVar

import msgspec

Record = TypeVar("Record", bound=msgspec.Struct)


class Store(Protocol):
    """Keep records, each under a kind and a key."""

    def put(self, kind: str, key: str, value: msgspec.Struct) -> None:
        """Keep a record, in the place of the one of that kind and key if there is one."""

    def delete(self, kind: str, key: str) -> None:
        """Forget a record."""

    def clear(self) -> None:
        """Forget every record."""

    def transaction(self) -> contextlib.AbstractContextManager[None]:
        """Have everything inside the block kept, or none of it."""

    def load(self, kind: str, type: type[Record]) -> Iterator[Record]:
        """Return the records of a kind, in the order in which they were first put."""


class MemoryStore:
    """Keep nothing: the state is in the engine's own objects, and ends with them.

    >>> list(MemoryStore().load("message", msgspec.Struct))
    []
    """

    def put(self, kind: str, key: str, value: msgspec.Struct) -> None:
        """Do nothing."""

    def delete(self, kind: str, key: str) -> None:
        """Do nothing."""

    def clear(self) -> None:
        """Do nothing."""

    def transaction(self) -> contextlib.AbstractContextManager[None]:
        """Do nothing."""
        return _NOTHING

    def load(self, kind: str, type: type[Record]) -> Iterator[Record]:
        """Return nothing."""
        return iter(())


_NOTHING = contextlib.nullcontext()
