"""The tests that `--engagelab-check` adds: one for each check, against the receiver of `engagelab_receiver`.

pytest collects this module as a test module in each directory that overrides that fixture. Nothing else imports it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from engagelab_mock.checks.catalogue import CHECKS, Selection
from engagelab_mock.checks.check import Check, Judgement
from engagelab_mock.checks.finding import Finding
from engagelab_mock.checks.findings_text import in_full
from engagelab_mock.checks.runner import Runner, context_of
from engagelab_mock.delivery.probe import PROBE_OPTIONS
from engagelab_mock.delivery.receiver import Receiver
from engagelab_mock.errors import NothingObserved, ProbeFailed, StateNotSettled, UnknownName, UsageError

_MODULE = Path(__file__)
#: The module's name in node ids, and for `-k`.
_NAME = "engagelab-check"
_RECEIVER, _CHECK_OPTIONS = "engagelab_receiver", "engagelab_check_options"
_OPTIONS = (*PROBE_OPTIONS, "stall", "patience", "depth", "suppress")


@pytest.mark.parametrize("id", [pytest.param(c.id, id=f"{c.id}-{c.name}-{c.severity}") for c in CHECKS.values()])
def test_receiver(
    id: str,
    engagelab_receiver: Receiver | Sequence[Receiver],
    engagelab_check_options: Mapping[str, Any],
    pytestconfig: pytest.Config,
) -> None:
    """Fail if the check fails, ends with an error, or cannot see the state; skip if it is inconclusive or skipped.

    A suppressed failure is expected to fail.
    """
    options = _checked(engagelab_check_options)
    suppress = {**_reasons(pytestconfig), **(options.pop("suppress", None) or {})}
    selection = Selection(suppress=suppress, depth=options.pop("depth", "normal"))
    receivers = [engagelab_receiver] if isinstance(engagelab_receiver, Receiver) else engagelab_receiver
    unclear = []
    for receiver in receivers:
        finding = _run(CHECKS[id], receiver, selection, options)
        if finding.fell_short or finding.verdict is Judgement.ERROR:
            pytest.fail(in_full(finding), pytrace=False)
        if finding.verdict is Judgement.FAIL:
            pytest.xfail(f"{finding.suppressed} ({finding.reason})")
        if finding.verdict is not Judgement.PASS:
            unclear.append(f"{finding.verdict}: {finding.reason}")
    if unclear:
        pytest.skip(unclear[0])


def _run(check: Check, receiver: Receiver, selection: Selection, options: Mapping[str, Any]) -> Finding:
    """Run one check; asynchronous functions are awaited in the loop of an ASGI app, or in a new loop."""
    loop = asyncio.Runner(loop_factory=asyncio.new_event_loop)
    app: Any = receiver.transport if receiver.transport.name == "asgi" else loop
    try:
        context = context_of(receiver, options, wait_for=lambda value: app.run(_awaited(value)))
        runner = Runner(context, selection=selection)
        [finding] = runner.run([check]).findings
    except (ProbeFailed, StateNotSettled, NothingObserved) as error:
        pytest.fail(str(error), pytrace=False)
    finally:
        loop.close()
        receiver.close()
    return finding


async def _awaited(value: Awaitable[Any]) -> Any:
    return await value


def _checked(given: Mapping[str, Any]) -> dict[str, Any]:
    for name in given:
        if name not in _OPTIONS:
            raise UnknownName("option", name, _OPTIONS, where="engagelab_check_options")
    return dict(given)


def _reasons(config: pytest.Config) -> dict[str, str]:
    """Return the reasons in the ini key, which has one `ID: reason` in each line."""
    reasons = {}
    for line in config.getini("engagelab_check_suppress"):
        id, colon, reason = line.partition(":")
        if not colon or not reason.strip():
            raise UsageError(f"{line!r} has no reason", where="engagelab_check_suppress", hint=f"{id}: why")
        reasons[id.strip()] = reason.strip()
    return reasons


class CheckCollection:
    """Add a test for each check, once for each `engagelab_receiver` that is overridden, or for the plugin's own."""

    def __init__(self) -> None:
        self._places: list[pytest.Collector] = []

    def pytest_collectstart(self, collector: pytest.Collector) -> None:
        """Keep the nodes that can hold tests."""
        if isinstance(collector, (pytest.Directory, pytest.Module)):
            self._places.append(collector)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, session: pytest.Session, items: list[pytest.Item]) -> None:
        """Add the tests before other plugins select from all of them."""
        found: dict[Any, pytest.Collector] = {}
        own = False
        # The topmost node that sees a receiver gets its checks, unless a node below it overrides the options.
        for place in sorted(
            self._places, key=lambda node: (not _is_overridden(node, _CHECK_OPTIONS), len(node.listchain()))
        ):
            overridden = _is_overridden(place, _RECEIVER) or _is_overridden(place, _CHECK_OPTIONS)
            if overridden and not own:
                own, found = True, {}
            if overridden or not (own or found):
                found.setdefault(_fixture(place, _RECEIVER), place)
        for place in found.values():
            items += _items(place)


def _is_overridden(node: pytest.Collector, name: str) -> bool:
    """Tell whether a test of this node would get another fixture than the plugin's."""
    module: str = _fixture(node, name).__module__
    return module != "engagelab_mock.pytest_plugin"


def _fixture(node: pytest.Collector, name: str) -> Any:
    """Return the function of the fixture for a test of this node."""
    definitions = node.session._fixturemanager.getfixturedefs(name, node)
    assert definitions, "the plugin has one"
    return definitions[-1].func


def _items(place: pytest.Collector) -> list[pytest.Item]:
    """Collect the tests as pytest does, so that plugins can count them and select them by name."""
    prefix = f"{place.nodeid}::" if place.nodeid not in {"", "."} else ""
    module = pytest.Module.from_parent(place, path=_MODULE, name=_NAME, nodeid=f"{prefix}{_NAME}")
    return list(place.session.genitems(module))
