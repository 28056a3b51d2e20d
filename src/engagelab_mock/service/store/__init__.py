"""Stores: they keep the state of an engine, so that another process can continue with it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

import msgspec

from engagelab_mock.errors import UsageError

Record = TypeVar("Record", bound=msgspec.Struct)


class StoreError(UsageError):
    """Report that a store cannot be written, for example because the disk is full. No part of the change is stored.

    >>> print(StoreError("the file cannot be written: database or disk is full", where="mock.sqlite"))
    mock.sqlite: the file cannot be written: database or disk is full
    """


class Store(Protocol):
    """Store records, each under a kind and a key."""

    def put(self, kind: str, key: str, value: msgspec.Struct) -> None:
        """Store a record. It replaces a record of the same kind and key."""

    def delete(self, kind: str, key: str) -> None:
        """Delete a record."""

    def clear(self) -> None:
        """Delete every record."""

    def transaction(self) -> contextlib.AbstractContextManager[None]:
        """Store all changes that the block makes, or none if it raises."""

    def undo(self, action: Callable[[], object]) -> None:
        """Call `action` if the transaction stores nothing, so that the objects in memory agree with the store."""

    def load(self, kind: str, type: type[Record]) -> Iterator[Record]:
        """Return the records of a kind, in the order in which they were first stored."""


class MemoryStore:
    """Store nothing: the state is only in the engine's objects, and is lost with them.

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
        return _NO_TRANSACTION

    def undo(self, action: Callable[[], object]) -> None:
        """Do nothing."""

    def load(self, kind: str, type: type[Record]) -> Iterator[Record]:
        """Return nothing."""
        return iter(())


_NO_TRANSACTION = contextlib.nullcontext()
