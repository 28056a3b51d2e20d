"""One test leaves nothing to the next: no journal, no clock, no connection, no loop."""

from __future__ import annotations

import pytest
from pytest_httpserver import HTTPServer

from tests.pytest_plugin.conftest import Run


def test_tests_share_neither_journal_nor_clock_nor_receiver(run: Run) -> None:
    text = """
        import time, pytest

        earlier = []

        @pytest.mark.parametrize("number", [1, 2, 3])
        def test_it(engagelab, number):
            assert len(engagelab.journal) == 0
            assert engagelab.receiver.recorder.received == []
            assert abs(engagelab.clock.time() - time.time()) < 3600
            assert all(engagelab is not one and engagelab.clock is not one.clock for one in earlier)
            engagelab.clock.advance(days=1)
            engagelab.send()
            earlier.append(engagelab)
    """
    run(text).assert_outcomes(passed=3)


def test_a_callback_due_in_one_test_is_not_delivered_in_the_next(run: Run) -> None:
    text = """
        import pytest

        @pytest.mark.parametrize("number", [1, 2])
        def test_it(engagelab, number):
            engagelab.clock.advance(days=1)
            assert engagelab.journal.statuses == []
            engagelab.send(scenario="delivered")
    """
    run(text).assert_outcomes(passed=2)


RECEIVERS = """
    import gc, pytest
    from engagelab_mock import Receiver

    async def app(scope, receive, send):
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body"})

    @pytest.fixture(autouse=True)
    def found_out():
        yield
        gc.collect()  # a socket or a loop left open warns when it is collected, and warnings are errors
"""
TESTS = {
    "passes": "def test_it(engagelab): engagelab.send()",
    "fails": "def test_it(engagelab): engagelab.send(); assert False",
    "fails in set-up": """
@pytest.fixture
def broken(engagelab):
    engagelab.send()
    raise RuntimeError

def test_it(broken):
    pass
""",
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["http", "asgi"])
@pytest.mark.parametrize("ending", TESTS)
def test_nothing_is_left_open_however_a_test_ends(run: Run, httpserver: HTTPServer, kind: str, ending: str) -> None:
    httpserver.expect_request("/").respond_with_data("")
    target = repr(httpserver.url_for("/")) if kind == "http" else "app, lifespan=False"
    receiver = f"""
    @pytest.fixture
    def engagelab_receiver():
        return Receiver.{kind}({target})
    """
    result = run(TESTS[ending] + "\ndef test_next(engagelab): assert not engagelab.journal", given=RECEIVERS + receiver)
    outcomes = {"passes": {"passed": 2}, "fails": {"passed": 1, "failed": 1}}
    result.assert_outcomes(**outcomes.get(ending, {"passed": 1, "errors": 1}))
    assert "ResourceWarning" not in result.stdout.str()


def test_the_fixtures_lifespan_ends_with_the_test(run: Run) -> None:
    text = """
        import pytest
        from engagelab_mock import Receiver

        told = []

        async def app(scope, receive, send):
            if scope["type"] == "lifespan":
                for step in ("startup", "shutdown"):
                    await receive()
                    told.append(step)
                    await send({"type": f"lifespan.{step}.complete"})
            else:
                await send({"type": "http.response.start", "status": 200})
                await send({"type": "http.response.body"})

        @pytest.fixture
        def engagelab_receiver():
            return Receiver.asgi(app)

        def test_first(engagelab):
            engagelab.send()
            assert told == ["startup"]

        def test_second():
            assert told == ["startup", "shutdown"]
    """
    run(text).assert_outcomes(passed=2)
