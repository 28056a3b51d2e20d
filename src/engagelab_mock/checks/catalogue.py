"""Every check by its id, in the order of the catalogue, which is the order in which they run."""

from __future__ import annotations

from engagelab_mock.checks.acknowledgement import ACKNOWLEDGEMENT
from engagelab_mock.checks.address import ADDRESS
from engagelab_mock.checks.batch import BATCH
from engagelab_mock.checks.body import BODY
from engagelab_mock.checks.check import Check
from engagelab_mock.checks.drift import DRIFT
from engagelab_mock.checks.duplicates import DUPLICATES
from engagelab_mock.checks.freshness import FRESHNESS
from engagelab_mock.checks.ordering import ORDERING
from engagelab_mock.checks.secrecy import SECRECY
from engagelab_mock.checks.signature import SIGNATURE
from engagelab_mock.checks.strangers import STRANGERS
from engagelab_mock.checks.wire import AFTERWARDS, WIRE

#: Every check, by its id.
CHECKS: dict[str, Check] = {
    check.id: check
    for check in sorted(
        (
            *ACKNOWLEDGEMENT,
            *SIGNATURE,
            *FRESHNESS,
            *SECRECY,
            *DUPLICATES,
            *ORDERING,
            *STRANGERS,
            *BATCH,
            *DRIFT,
            *BODY,
            *WIRE,
            *ADDRESS,
            *AFTERWARDS,
        ),
        key=lambda check: check.id,
    )
}
