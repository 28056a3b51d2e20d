"""EngageLab as the package exports it: it accepts, sends and settles, explores schedules, and checks receivers."""

from __future__ import annotations

from engagelab_mock.checks.checking import Checking
from engagelab_mock.explore.engagelab import EngageLab as Exploring


class EngageLab(Exploring, Checking):
    """Play EngageLab towards one or more receivers, with a clock, a journal and a seed of its own.

    >>> with EngageLab() as engagelab:
    ...     engagelab.send("+6591234567").statuses
    ['plan', 'sent', 'delivered', 'verified']

    Without a receiver the bundled one, which verifies and records, gets the callbacks. `clock` is a `VirtualClock`
    unless given. The same `seed`, of any type, makes the same ids and data; it is 0 unless given. `dialect` is a
    `Dialect` or the name of one, and says how callbacks are spelt.

    `code_ttl` is in seconds, None for codes that never expire; `abnormal` says whether a receiver whose address failed
    its validation still gets callbacks ("deliver") or none ("skip") [?]; `defaults` are arguments for `send`.

    `journal` is a `Journal` to write in, a new one unless given. `keep` is how many messages, and how many entries of a
    new journal, are kept at most; None keeps all. `api` is an `ApiSettings`: how the REST API behaves.

    >>> EngageLab(seed="acme").send().message.id == EngageLab(seed="acme").send().message.id
    True
    """
