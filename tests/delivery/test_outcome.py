"""The typed outcomes: five mean that nobody was reached."""

from __future__ import annotations

from engagelab_mock import Outcome


def test_these_mean_that_the_receiver_never_saw_a_request() -> None:
    assert {outcome for outcome in Outcome if outcome.unreachable} == {
        "refused",
        "dns_failure",
        "connect_timeout",
        "unreachable",
        "tls_failure",
    }
