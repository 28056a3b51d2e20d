"""HTTP headers as they go over the wire: in order, repeats kept, looked up without regard to case."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping


class Headers(Mapping[str, str]):
    """Hold headers as ordered pairs; look one up by name in any case.

    >>> Headers([("X-CALLBACK-ID", "timestamp=1")])["x-callback-id"]
    'timestamp=1'

    A name that stands twice gives its first value by `[]` and all of them by `get_all`.
    """

    __slots__ = ("pairs",)

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        #: Every header as it was sent, in order.
        self.pairs = tuple(pairs)

    def __getitem__(self, name: str) -> str:
        wanted = name.lower()
        for key, value in self.pairs:
            if key.lower() == wanted:
                return value
        raise KeyError(name)

    def get_all(self, name: str) -> list[str]:
        """Return every value sent under a name.

        >>> Headers([("A", "1"), ("a", "2")]).get_all("A")
        ['1', '2']
        """
        wanted = name.lower()
        return [value for key, value in self.pairs if key.lower() == wanted]

    def __iter__(self) -> Iterator[str]:
        seen = set()
        for key, _ in self.pairs:
            if key.lower() not in seen:
                seen.add(key.lower())
                yield key

    def __len__(self) -> int:
        return len({key.lower() for key, _ in self.pairs})

    def __eq__(self, other: object) -> bool:
        return self.pairs == other.pairs if isinstance(other, Headers) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.pairs)

    def __repr__(self) -> str:
        return f"Headers({list(self.pairs)!r})"
