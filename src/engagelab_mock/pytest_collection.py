"""Where the tests of `--engagelab-check` stand: wherever `engagelab_receiver` is overridden."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

_MODULE = Path(__file__).with_name("pytest_checks.py")
_RECEIVER, _OPTIONS = "engagelab_receiver", "engagelab_check_options"


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
        own = False
        # The topmost of those who see a receiver is where it is, as far as anybody is concerned; unless there are
        # options further down.
        for place in sorted(self._places, key=lambda node: (not _is_overridden(node, _OPTIONS), len(node.listchain()))):
            overridden = _is_overridden(place, _RECEIVER) or _is_overridden(place, _OPTIONS)
            if overridden and not own:
                own, found = True, {}
            if overridden or not (own or found):
                found.setdefault(_fixture(place, _RECEIVER), place)
        for place in found.values():
            items += _items(place)


def _is_overridden(node: pytest.Collector, name: str) -> bool:
    """Tell whether a test of this node would get another fixture than the plugin's own."""
    module: str = _fixture(node, name).__module__
    return module != "engagelab_mock.pytest_plugin"


def _fixture(node: pytest.Collector, name: str) -> Any:
    """Return the function of the fixture that a test of this node would get."""
    definitions = node.session._fixturemanager.getfixturedefs(name, node)
    assert definitions, "the plugin has one"
    return definitions[-1].func


def _items(place: pytest.Collector) -> list[pytest.Item]:
    prefix = f"{place.nodeid}::" if place.nodeid not in {"", "."} else ""
    module = pytest.Module.from_parent(place, path=_MODULE, nodeid=f"{prefix}engagelab-check")
    return [item for item in module.collect() if isinstance(item, pytest.Item)]
