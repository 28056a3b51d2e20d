"""What a fault's options may be: each is checked against its type in the signature of the fault's work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, get_type_hints

import msgspec

from engagelab_mock.delivery.fault.model import Fault
from engagelab_mock.errors import UnknownName, UsageError
from engagelab_mock.protocol.dialect import DIALECTS
from engagelab_mock.protocol.settings import ACCOUNT_EVENTS
from engagelab_mock.protocol.status import Status

#: Seconds by which a clock is wrong, up to a hundred years.
Age = Annotated[float, msgspec.Meta(ge=0, le=100 * 365 * 86400)]
#: Seconds that really pass, up to a minute.
Seconds = Annotated[float, msgspec.Meta(ge=0, le=60)]
#: How many, from one; what is sent stays within what a machine can hold.
Count = Annotated[int, msgspec.Meta(ge=1, le=1 << 28)]
#: How many at once, from two.
Copies = Annotated[int, msgspec.Meta(ge=2, le=100)]
#: A status by which a server says that it is its own fault.
ServerError = Annotated[int, msgspec.Meta(ge=500, le=599)]
#: How many digits of a signature of 64.
Digits = Annotated[int, msgspec.Meta(ge=0, le=63)]
#: Text that can stand in a header, outer blanks and line breaks excepted.
HeaderText = Annotated[str, msgspec.Meta(pattern=r"\A[!-~\xa0-\xff]([ -~\xa0-\xff]*[!-~\xa0-\xff])?\Z")]
#: A key or a value of a row.
Name = Annotated[str, msgspec.Meta(min_length=1)]

#: Every name an event can have, which is what `on` chooses by.
EVENT_NAMES = (
    *map(str, Status),
    *(known.sent_failed for known in DIALECTS.values() if known.sent_failed not in list(Status)),
    *(name for names in ACCOUNT_EVENTS.values() for name in names),
)


def with_options(fault: Fault, options: Mapping[str, Any], *, on: str | Sequence[str], attempts: object) -> Fault:
    """Return the fault with other options, limited to some callbacks and attempts.

    Raises `UnknownName` for a misspelt option or event, `UsageError` for a value that an option cannot have.
    """
    where = f"fault {fault.name!r}"
    types = get_type_hints(fault.work, include_extras=True)
    for name, value in options.items():
        if name not in fault.options:
            raise UnknownName("option", name, [*fault.options, "on", "attempts"], where=where)
        try:
            msgspec.convert(value, types[name])
        except msgspec.ValidationError as error:
            raise UsageError(f"{name} cannot be {value!r}: {error}", where=where) from None
    if attempts is not None and not (type(attempts) is int and attempts >= 1):
        raise UsageError(f"attempts is a number from 1, not {attempts!r}", where=where)
    names = (on,) if isinstance(on, str) else tuple(on)
    for name in names:
        if name not in EVENT_NAMES:
            raise UnknownName("status or event", name, EVENT_NAMES, where=f"{where}, on")
    return msgspec.structs.replace(fault, options={**fault.options, **options}, on=names, attempts=attempts)
