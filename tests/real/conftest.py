"""What the receivers of this directory are put through."""

from __future__ import annotations

import pytest

#: A Django project, whose tests run in a separate process.
collect_ignore = ["django_rows"]

#: The built-in scenarios, written out here once more so that a change of the catalogue does not go unseen.
SCENARIOS = {
    "verified": ["plan", "sent", "delivered", "verified"],
    "delivered": ["plan", "sent", "delivered"],
    "sent_failed": ["plan", "sent_failed"],
    "delivered_failed": ["plan", "sent", "delivered_failed"],
    "verified_failed": ["plan", "sent", "delivered", "verified_failed"],
    "verified_timeout": ["plan", "sent", "delivered", "verified_timeout"],
    "target_invalid": ["plan", "target_invalid"],
    "fallback": ["plan", "sent", "delivered_failed", "sent", "delivered", "verified"],
    "fallback_exhausted": ["plan", "sent", "delivered_failed", "sent", "delivered_failed", "sent", "delivered_failed"],
    "read": ["plan", "sent", "delivered", "read"],
    "lost": [],
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that takes `scenario` and `statuses` once for each built-in scenario."""
    if {"scenario", "statuses"} <= set(metafunc.fixturenames):
        metafunc.parametrize(("scenario", "statuses"), SCENARIOS.items(), ids=SCENARIOS.keys())
