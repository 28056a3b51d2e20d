"""What holds for every test, the doctests under src/ included."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def _no_settings_of_the_developers() -> Iterator[None]:
    """Hide the settings of whoever runs the tests: the command line would read them."""
    with pytest.MonkeyPatch.context() as environment:
        for name in list(os.environ):
            if name.startswith("ENGAGELAB_") or name in {"NO_COLOR", "FORCE_COLOR"}:
                environment.delenv(name)
        yield
