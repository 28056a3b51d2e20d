"""What holds for every test, the doctests under src/ included."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

collect_ignore_glob = [
    # Importing Locust makes all blocking calls of the process cooperative: its doctests have a process of their own.
    "src/engagelab_mock/integrations/locust*.py",
]
# Receivers to copy, with tests: each is a separate project. The directories, so that no conftest.py in them is loaded.
collect_ignore = [str(path) for path in Path(__file__).parent.glob("src/engagelab_mock/starters/*") if path.is_dir()]


@pytest.hookimpl(optionalhook=True)  # without pytest-xdist, there is no such hook
def pytest_xdist_auto_num_workers() -> int:
    """Run two workers more than there are cores: half of the time, most tests wait for a server or a process."""
    return (os.cpu_count() or 1) + 2


def pytest_collection_finish() -> None:
    """Keep what was imported and collected out of the garbage collector.

    A full collection of all that takes a second, and several where the machine is busy. It happens while an app answers
    in process, and the app would be too late.
    """
    import hypothesis  # noqa: F401  # it warns of random generators whose owners the collector does not see

    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _no_settings_of_the_developers() -> Iterator[None]:
    """Hide the settings of whoever runs the tests: the command line would read them."""
    with pytest.MonkeyPatch.context() as environment:
        for name in list(os.environ):
            if name.startswith("ENGAGELAB_") or name in {"NO_COLOR", "FORCE_COLOR"}:
                environment.delenv(name)
        yield
