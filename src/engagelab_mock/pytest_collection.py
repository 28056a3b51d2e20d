"""Where the tests of `--engagelab-check` stand: wherever `engagelab_receiver` is overridden."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

_MODULE = Path(__file__).with_name("pytest_checks.py")


class CheckCollection:
    """Add a test for each check, once for each `engagelab_receiver` that is overridden, or for the plugin's own."""

    def __init__(self) -> None:
        self._places: list[pytest.Collector] = []

    def pytest_collectstart(self, collector: pytest.Collector) -> None:
        """Take note of where tests can stand."""
        if isinstance(collector, (pytest.Directory, pytest.Module)):
            self._places.append(collector)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, session: pytest.Session, items: list[pytest.Item]) -> None:
        """Add the tests, before others choose among all there are."""
        found: dict[Any, pytest.Collector] = {}
        for place in sorted(self._places, key=lambda node: len(node.listchain())):
            # The topmost of those who see a fixture is where it is, as far as anybody is concerned.
            found.setdefault(_fixture(session, place), place)
        own = [place for fixture, place in found.items() if fixture.__module__ != "engagelab_mock.pytest_plugin"]
        for place in own or list(found.values())[:1]:
            items += _items(place)


def _fixture(session: pytest.Session, node: pytest.Collector) -> Any:
    """Return the function of the fixture that a test of this node would get."""
    definitions = session._fixturemanager.getfixturedefs("engagelab_receiver", node)
    assert definitions, "the plugin has one"
    return definitions[-1].func


def _items(place: pytest.Collector) -> list[pytest.Item]:
    prefix = f"{place.nodeid}::" if place.nodeid not in {"", "."} else ""
    module = pytest.Module.from_parent(place, path=_MODULE, nodeid=f"{prefix}engagelab-check")
    return [item for item in module.collect() if isinstance(item, pytest.Item)]
