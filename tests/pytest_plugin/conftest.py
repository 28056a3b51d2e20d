"""Runs of pytest inside the suite, and test files to run."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from textwrap import dedent

import pytest

import engagelab_mock

# An inner run forgets the modules that it was the first to import: the next would import them again, as copies.
for name in (
    *("engagelab_mock.pytest_support", "engagelab_mock.pytest_report", "engagelab_mock.server.running"),
    "engagelab_mock.delivery.transport.asgi",
    *("engagelab_mock.integrations.interception", "engagelab_mock.server.openapi", "fastapi", "flask"),
    *("engagelab_mock.explore.explorer", "engagelab_mock.checks.runner"),
):
    import_module(name)

#: Warnings are errors; pytest-asyncio would warn that its options are not set.
STRICT = ("-W", "error", "-p", "no:cacheprovider", "-o", "asyncio_default_fixture_loop_scope=function")
#: Plugins that take longer to start than an inner run does.
QUICK = (
    "-p",
    "no:faker",
    "-p",
    "no:hypothesispytest",
    "-p",
    "no:schemathesis",
    "-p",
    "no:requests_mock",
    "-p",
    "no:respx",
)

#: What a frame of this package would show in a traceback.
OWN_FRAME = f"{Path(engagelab_mock.__file__).parent.name}/"

#: A receiver in which the last write wins, for the test files.
LAST_WINS = """
    import pytest
    from engagelab_mock import Receiver, converges, decode, schedules

    kept = {}

    def app(environ, start_response):
        for row in decode(environ["wsgi.input"].read()).rows:
            kept[row.message_id] = row.name
        start_response("200 OK", [])
        return [b""]

    @pytest.fixture
    def engagelab_receiver():
        return Receiver.wsgi(app, username="acme", secret="s3cret", observe=kept.get)
"""

Run = Callable[..., pytest.RunResult]


@pytest.fixture
def run(pytester: pytest.Pytester) -> Run:
    """Run pytest in this process over one file, with these arguments; `given` is the text before its tests."""

    def run(tests: str, *arguments: str, given: str = "") -> pytest.RunResult:
        pytester.makepyfile(test_inner=dedent(given) + dedent(tests))
        return pytester.runpytest_inprocess(*STRICT, *QUICK, *arguments)

    return run
