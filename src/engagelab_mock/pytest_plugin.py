"""The pytest plugin: hooks and fixtures. It is loaded in every run, so all else is imported inside."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from engagelab_mock import EngageLab, Receiver

_OPTIONS = {
    "url": "send callbacks to this URL, over a real socket",
    "username": "sign callbacks as this user",
    "secret": "sign callbacks with this secret",
    "authorization": "send this Authorization header, verbatim",
    "seed": "make other ids and data; the same seed makes the same",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --engagelab-url and its fellows, on the command line and as ini keys."""
    group = parser.getgroup("engagelab", "EngageLab OTP (engagelab-mock)")
    for name, text in _OPTIONS.items():
        group.addoption(f"--engagelab-{name}", metavar=name.upper(), help=text)
        parser.addini(f"engagelab_{name}", f"{text} (--engagelab-{name})", default=None)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line(
        "markers",
        "engagelab(*, scenario, to, template, channel, custom_args, check, url, username, secret, authorization, "
        "seed, dialect, code_ttl): defaults for the `engagelab` fixture in this test.",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Stop at a misspelt marker argument before any test runs."""
    marked = [item for item in items if item.get_closest_marker("engagelab")]
    if marked:
        from engagelab_mock.pytest_settings import check_markers

        check_markers(marked)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show a failing test's deliveries and seed."""
    report = yield
    if report.failed and "engagelab" in getattr(item, "fixturenames", ()):
        from engagelab_mock.pytest_settings import report_section

        report.sections.extend(report_section(item))
    return report


@pytest.fixture
def engagelab_receiver(request: pytest.FixtureRequest) -> Receiver:
    """Say who gets the callbacks; override it in your conftest.py to return your own Receiver.

    Left alone it is --engagelab-url, or else a bundled receiver that verifies and records, in process:

        @pytest.fixture
        def engagelab_receiver(app):
            return Receiver.wsgi(app, path="/engagelab", username="acme", secret="s3cret")
    """
    from engagelab_mock.pytest_settings import settings_of

    return settings_of(request.node).default_receiver()


@pytest.fixture
def engagelab(request: pytest.FixtureRequest, engagelab_receiver: Receiver) -> Iterator[EngageLab]:
    """Play EngageLab towards the receiver under test, in virtual time, with a journal of its own.

    def test_verified(engagelab):
        run = engagelab.send("+6591234567")
        assert run.statuses == ["plan", "sent", "delivered", "verified"]
    """
    from engagelab_mock.pytest_settings import settings_of

    with settings_of(request.node).build(engagelab_receiver) as engagelab:
        yield engagelab
