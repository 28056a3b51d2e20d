"""What a user gives for an event: documented fields checked, undocumented ones taken along."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, TypeVar

import msgspec

from engagelab_mock.errors import UnknownName, UsageError, did_you_mean
from engagelab_mock.protocol.event_table import EVENTS, Field, KnownEvent
from engagelab_mock.protocol.events import Section

S = TypeVar("S", bound=Section)

#: How alike an unknown field and a known one must be for the first to be a slip of the pen.
_ALIKE = 0.8
_ARTICLES = {"integer": "an integer", "object": "an object"}


def check_fields(known: KnownEvent, given: Mapping[str, Any], *, where: str) -> None:
    """Raise `UsageError` for a field of the wrong type or value, of another event, or misspelt.

    >>> check_fields(EVENTS["insufficient_balance"], {"remain_balance": "1"}, where="notify")
    Traceback (most recent call last):
    ...
    engagelab_mock.errors.UsageError: notify: remain_balance is a number, not '1'
    """
    for name, value in given.items():
        field = known.field(name)
        if field is None:
            _check_extra(known, name, value, where)
        else:
            _check_known(field, value, where)


def extended(kind: type[S], values: dict[str, Any]) -> S:
    """Make a section; values it has no field for become fields of a section derived from it.

    >>> from engagelab_mock.protocol.events import ApiCall
    >>> msgspec.json.encode(extended(ApiCall, {"api_path": "/v1/codes", "method": "POST", "status": 200}))
    b'{"api_path":"/v1/codes","method":"POST","status":200}'
    """
    extra = tuple(name for name in values if name not in kind.__struct_fields__)
    made: S = (_with_fields(kind, extra) if extra else kind)(**values)
    return made


@cache
def _with_fields(kind: type[Section], names: tuple[str, ...]) -> Any:
    # Made once for the same fields: two equal events must be of equal types.
    fields: Iterable[Any] = [(name, Any) for name in names]
    return msgspec.defstruct(kind.__name__, fields, bases=(kind,), frozen=True, kw_only=True)


def _check_known(field: Field, value: Any, where: str) -> None:
    if not field.accepts(value):
        raise UsageError(f"{field.name} is {_ARTICLES.get(field.type, f'a {field.type}')}, not {value!r}", where=where)
    if field.choices and value not in field.choices:
        raise UnknownName(field.name, value, field.choices, where=where)
    _check_json(field.name, value, where)


def _check_extra(known: KnownEvent, name: str, value: Any, where: str) -> None:
    for other in EVENTS.values():
        if other.kind == known.kind and other.field(name) is not None:
            hint = f"it is a field of {other.name}; of {known.name}: {_own(known)}"
            raise UsageError(f"{known.name} has no {name}", where=where, hint=hint)
    if name == "from":
        raise UsageError("'from' is the sender, the first argument", where=where)
    names = [field.name for field in known.fields]
    if did_you_mean(name, names, cutoff=_ALIKE):
        raise UnknownName("field", name, names, where=where)
    if not name.isidentifier():
        raise UsageError(f"{name!r} is no name for a field", where=where, hint="letters, digits and '_'")
    _check_json(name, value, where)


def _check_json(name: str, value: Any, where: str) -> None:
    # A number that is not finite would silently become null.
    if isinstance(value, float) and value - value != 0:
        raise UsageError(f"{name} is {value!r}, which JSON has no number for", where=where)
    try:
        msgspec.json.encode(value)
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise UsageError(f"{name} cannot be written as JSON: {error}", where=where) from None


def _own(known: KnownEvent) -> str:
    return ", ".join(field.name for field in known.fields) or "none"
