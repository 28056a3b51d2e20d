"""The pytest plugin: hooks and fixtures. It is loaded in every run, so all else is imported inside."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from engagelab_mock import EngageLab, Receiver
    from engagelab_mock.integrations.requests import Interception
    from engagelab_mock.pytest_support import TestSettings
    from engagelab_mock.server.running import ApiServer

_OPTIONS = {
    "url": "send callbacks to this URL, over a real socket",
    "username": "sign callbacks as this user",
    "secret": "sign callbacks with this secret",
    "authorization": "send this Authorization header, verbatim",
    "seed": "make other ids and data; the same seed makes the same",
}

_SETTINGS = pytest.StashKey["TestSettings"]()
#: Under what name an xdist worker hands its usage errors to the controller.
_PROBLEMS = "engagelab_problems"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --engagelab-url and its fellows, on the command line and as ini keys."""
    group = parser.getgroup("engagelab", "EngageLab OTP (engagelab-mock)")
    for name, text in _OPTIONS.items():
        group.addoption(f"--engagelab-{name}", metavar=name.upper(), help=text)
        parser.addini(f"engagelab_{name}", f"{text} (--engagelab-{name})", default=None)
    group.addoption("--engagelab-replay", metavar="TOKEN", help="of all schedules, play only this one")
    text = "put the receiver of engagelab_receiver through the checks, a test each"
    group.addoption("--engagelab-check", action="store_true", default=None, help=text)
    parser.addini("engagelab_check", f"{text} (--engagelab-check)", type="bool", default=False)
    parser.addini(
        "engagelab_check_suppress", "checks whose failure is expected, one `ID: reason` a line", type="linelist"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker and the fixtures, and what adds the checks if they are asked for."""
    config.pluginmanager.register(Fixtures(), "engagelab_mock_fixtures")
    if config.getoption("--engagelab-check") or config.getini("engagelab_check"):
        from engagelab_mock.pytest_support import CheckCollection

        config.pluginmanager.register(CheckCollection(), "engagelab_mock_checks")
    config.addinivalue_line(
        "markers",
        "engagelab(*, scenario, to, template, channel, custom_args, retry, batch, fault, check, url, username, "
        "secret, authorization, seed, dialect, code_ttl, dev_key, dev_secret, strict_templates, "
        "callback_before_response): defaults for the `engagelab` fixture in this test.",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Stop at a misspelt marker argument, or token, before any test runs; leave out what is not to be replayed."""
    marked = [item for item in items if "engagelab" in item.keywords]
    token = config.getoption("engagelab_replay")
    if not marked and token is None:
        return
    from engagelab_mock.pytest_support import keep_replayed, marker_problems

    problems = marker_problems(marked) or (keep_replayed(config, items, token) if token is not None else "")
    if not problems:
        return
    workeroutput = getattr(config, "workeroutput", None)
    if workeroutput is None:
        raise pytest.UsageError(problems)
    # Nobody reads what a worker says, and xdist takes one that raises for crashed: the controller has to say it.
    workeroutput[_PROBLEMS] = problems
    items.clear()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object) -> None:
    """Report what an xdist worker found wrong with the markers."""
    problems = getattr(node, "workeroutput", {}).get(_PROBLEMS)
    if problems:
        raise pytest.UsageError(problems)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Fail a test that has passed so far if a callback of its app's own calls was not acknowledged.

    It is the innermost of all that wrap the call: what is sent here is captured and logged as the test's own.
    """
    result = yield
    settings = item.stash.get(_SETTINGS, None)
    if settings is not None:
        settings.raise_late()
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show a failing test's deliveries and seed, and end the traceback of our own errors at the test's line."""
    if call.excinfo is not None and call.excinfo.type.__module__ == "engagelab_mock.errors":
        from engagelab_mock.pytest_support import end_at_caller

        if not item.config.getoption("fulltrace"):
            end_at_caller(call.excinfo.value)
    report = yield
    settings = item.stash.get(_SETTINGS, None) if report.failed else None
    if settings is not None:
        report.sections.append(("EngageLab deliveries", settings.report()))
    return report


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name a test after the token of its schedule."""
    return str(val) if type(val).__module__ == "engagelab_mock.explore.schedule" else None


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """Explain two status sequences, or two events, that are not equal."""
    # Only who has used the engine can hold either, and nobody else pays for the import.
    if op != "==" or "engagelab_mock.protocol.events" not in sys.modules:
        return None
    from engagelab_mock.pytest_support import explain

    return explain(left, right)


class Fixtures:
    """The fixtures, and the test they are made for: asking for `request` or `pytestconfig` would cost 60 µs a test."""

    _item: pytest.Item

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Keep the test that is about to run."""
        self._item = item

    @pytest.fixture
    def engagelab_receiver(self) -> Receiver:
        """Say who gets the callbacks; override it in your conftest.py to return your own Receiver.

        Left alone it is --engagelab-url, or else a bundled receiver that verifies and records, in process. Your own:

            @pytest.fixture
            def engagelab_receiver(app):
                return Receiver.wsgi(app, path="/engagelab", username="acme", secret="s3cret")

        A list of receivers does for an account with several callbacks.
        """
        return self._settings().default_receiver()

    @pytest.fixture
    def engagelab(self, engagelab_receiver: Receiver | Sequence[Receiver]) -> Iterator[EngageLab]:
        """Play EngageLab towards the receiver under test, in virtual time, with a journal of its own.

        A delivery that is not acknowledged fails the test at the line that sent it:

            def test_verified(engagelab):
                run = engagelab.send("+6591234567")
                assert run.statuses == ["plan", "sent", "delivered", "verified"]
        """
        with self._settings().build(engagelab_receiver) as engagelab:
            yield engagelab

    @pytest.fixture
    def engagelab_server(self, engagelab: EngageLab) -> Iterator[ApiServer]:
        """Serve EngageLab's REST API on a free port of 127.0.0.1, for an app in any process and any language.

        It shares its state with `engagelab`, and one line points the official SDK at it:

            def test_login(engagelab, engagelab_server, monkeypatch):
                monkeypatch.setattr(OTPClient, "BASE_URL", engagelab_server.base_url)
                message = OTPClient("key", "secret").send("+6591234567", "my-template")
                assert engagelab.inbox("+6591234567").code

        `engagelab_server.env` has environment variables for an app that is told by them.
        """
        from engagelab_mock.server.running import ApiServer

        with ApiServer(engagelab) as server:
            yield server

    @pytest.fixture
    def engagelab_api(self, engagelab: EngageLab) -> Iterator[Interception]:
        """Answer what the app sends to https://otp.api.engagelab.cc with `requests`: in process, without a socket.

        It shares its state with `engagelab`; what goes to other hosts is let alone:

            def test_login(engagelab, engagelab_api):
                shop.log_in("+6591234567")
                assert shop.enter(engagelab.inbox("+6591234567").code)
        """
        from engagelab_mock.integrations.requests import Interception

        with Interception(engagelab) as interception:
            yield interception

    @pytest.fixture
    def engagelab_check_options(self) -> Mapping[str, Any]:
        """Say what --engagelab-check needs to know; override it to return `observe`, `prepare`, `stall`, `suppress`.

        Left alone it is nothing: a Receiver can bring `observe` itself. For an app that knows only what it has sent:

            @pytest.fixture
            def engagelab_check_options():
                return {"prepare": lambda message: Sent.create(id=message.id, to=message.to)}
        """
        return {}

    def _settings(self) -> TestSettings:
        from engagelab_mock.pytest_support import TestSettings

        stash = self._item.stash
        if _SETTINGS not in stash:
            stash[_SETTINGS] = TestSettings(self._item)
        return stash[_SETTINGS]
