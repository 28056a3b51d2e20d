"""What is wrong with a schedule that was played: what does not hold, and since when."""

from __future__ import annotations

from typing import Any

import msgspec

from engagelab_mock.explore.played import Record


class Violation(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Say which invariant does not hold, what is wrong, and after which attempt.

    >>> Violation(invariant="eventually", what="the state is 'sent'").record is None
    True
    """

    invariant: str
    what: str
    #: The attempt after which it was seen; None where no attempt is to blame.
    record: Record | None = None
    #: The state that is wrong, and the one it is compared with.
    before: Any = None
    after: Any = None


#: The name under which it is reported that a callback was not acknowledged, which holds without being asked for.
ACKNOWLEDGED = "acknowledged"


def given_up(record: Record) -> Violation:
    """Say that a callback was not acknowledged, and will not be sent again."""
    what = f"the callback was given up: {record.attempt.error}"
    return Violation(invariant=ACKNOWLEDGED, what=what, record=record, before=record.before, after=record.after)
