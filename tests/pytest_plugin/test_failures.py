"""A failing test shows the calling line and the exchange, but not one frame of this package."""

from __future__ import annotations

import re

import pytest

from tests.pytest_plugin.conftest import OWN_FRAME, QUICK, STRICT, Run

FORGETFUL = """
    import flask, pytest
    from engagelab_mock import Receiver, Scenario

    app = flask.Flask(__name__)
    healthy = True

    @app.post("/engagelab")
    def callbacks():
        if healthy:
            return "", 200

    @pytest.fixture
    def engagelab_receiver():
        global healthy
        healthy = True
        return Receiver.wsgi(app, path="/engagelab", username="acme", secret="s3cret")
"""


def test_a_view_that_forgets_to_return(run: Run) -> None:
    text = """
        def test_login(engagelab):
            global healthy
            healthy = False
            engagelab.send("+6591234567")
    """
    result = run(text, given=FORGETFUL)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            '>       engagelab.send("+6591234567")',
            "E       *NotAcknowledged: plan was not acknowledged: answered 500 INTERNAL SERVER ERROR*",
            "E         hint: *a view that returns nothing answers 500, so end it with `return '', 200`*",
            "E       request: POST http://testserver/engagelab  (in process, wsgi)",
            "E         X-CALLBACK-ID: timestamp=*;nonce=*;username=acme;signature=*",
            'E               "to": "+6591234567",',
            'E                 "message_status": "plan",',
            "E       response: 500 INTERNAL SERVER ERROR*",
            "test_inner.py:21: NotAcknowledged",
            "*- EngageLab deliveries -*",
            "receiver: http://testserver/engagelab (in process, wsgi), signed as 'acme'",
            "#  event  to           channel  http  outcome",
            "1  plan   +6591234567           500   not_200 in * ms: answered 500 INTERNAL SERVER ERROR*",
            "seed: 0 (the same data again: --engagelab-seed=0)",
            "FAILED test_inner.py::test_login - *NotAcknowledged: *",
        ]
    )
    assert OWN_FRAME not in result.stdout.str()


#: A line, the error it ends in, and the lines before it, which run while the receiver is still healthy.
CALLS = [
    ("engagelab.send()", "NotAcknowledged", "pass"),
    ("engagelab.validate_address()", "NotAcknowledged", "pass"),
    ("engagelab.clock.advance(minutes=5)", "NotAcknowledged", "engagelab.send(scenario='delivered')"),
    ("engagelab.send('+65 9123 4567')", "InvalidRecipient", "pass"),
    ("engagelab.send(scenario='verfied')", "UnknownName", "pass"),
    ("engagelab.send(scenario=['plan', 'snt'])", "UnknownName", "pass"),
    ("engagelab.send(scenario=['verified', 'plan'])", "IllegalTransition", "pass"),
    ("engagelab.send(channel='smss')", "UnknownName", "pass"),
    ("engagelab.validate_address('jsn')", "UnknownName", "pass"),
    ("engagelab.clock.advance(-1)", "InvalidDelay", "pass"),
    ("engagelab.clock.sleep(-1)", "InvalidDelay", "pass"),
    ("Scenario('mine').then('plan', after=-1)", "InvalidDelay", "pass"),
    ("Receiver.wsgi(app, username='acme')", "InvalidSettings", "pass"),
    ("Receiver.http('htp://127.0.0.1')", "InvalidSettings", "pass"),
]


@pytest.mark.parametrize("style", ["auto", "long", "short", "native", "line"])
def test_the_traceback_ends_at_the_line_that_called(run: Run, style: str) -> None:
    tests = [
        f"""
def test_{number}(engagelab):
    global healthy
    {before}
    healthy = False
    {line}  # here, {error}
"""
        for number, (line, error, before) in enumerate(CALLS)
    ]
    result = run("".join(tests), f"--tb={style}", "-p", "no:logging", given=FORGETFUL)
    result.assert_outcomes(failed=len(CALLS))
    output = result.stdout.str()
    assert OWN_FRAME not in output
    ends = re.findall(r"# here, (\w+)\n(?: +\^+\n)?E .*?\.(\w+): ", output)
    if style in {"auto", "long", "short"}:
        assert ends == [(error, error) for _, error, _ in CALLS]


CRASHING = """
    import pytest, sys
    from engagelab_mock import Receiver

    @pytest.fixture
    def engagelab_receiver():
        sys.path.insert(0, ".")
        import backend
        return Receiver.{kind}(backend.{kind})

    def test_it(engagelab):
        engagelab.send()
"""
BACKEND = """
    def wsgi(environ, start_response):
        raise RuntimeError("no database")

    async def asgi(scope, receive, send):
        raise RuntimeError("no database")
"""


@pytest.mark.parametrize("kind", ["wsgi", "asgi"])
def test_an_app_that_raises_is_shown_as_the_cause(run: Run, pytester: pytest.Pytester, kind: str) -> None:
    pytester.makepyfile(backend=BACKEND)
    result = run(CRASHING.format(kind=kind))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            '>       raise RuntimeError("no database")',
            "E       RuntimeError: no database",
            "backend.py:*: RuntimeError",
            "The above exception was the direct cause of the following exception:",
            ">       engagelab.send()",
            "E         hint: the app's own exception is the cause shown with this failure",
        ]
    )
    assert OWN_FRAME not in result.stdout.str()


def test_a_cause_that_is_its_own_cause_is_shown_once(run: Run, pytester: pytest.Pytester) -> None:
    backend = """
        def wsgi(environ, start_response):
            error = RuntimeError("no database")
            raise error from error
    """
    pytester.makepyfile(backend=backend)
    result = run(CRASHING.format(kind="wsgi"))
    result.assert_outcomes(failed=1)
    assert result.stdout.str().count("E       RuntimeError: no database") == 1


def test_full_trace_shows_all(run: Run) -> None:
    text = """
        def test_it(engagelab):
            engagelab.clock.advance(-1)
    """
    result = run(text, "--full-trace")
    result.stdout.fnmatch_lines([f"*{OWN_FRAME}clock/*.py:*"])


def test_an_error_that_is_not_ours_keeps_its_frames(run: Run) -> None:
    text = """
        def test_it(engagelab):
            engagelab.journal.listeners.append(lambda delivery, attempt: 1 / 0)
            engagelab.send()
    """
    result = run(text)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([">       engagelab.send()", f"*{OWN_FRAME}*", "E*ZeroDivisionError*"])


def test_a_failure_in_an_async_test_ends_at_its_line(run: Run) -> None:
    text = """
        @pytest.mark.asyncio
        async def test_it(engagelab):
            global healthy
            healthy = False
            await engagelab.asend()
    """
    result = run(text, given=FORGETFUL)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([">       await engagelab.asend()", "E*NotAcknowledged: plan was not acknowledged*"])
    assert OWN_FRAME not in result.stdout.str()


SHOP = """
    import contextlib, fastapi, pytest
    from engagelab_mock import Receiver

    @contextlib.asynccontextmanager
    async def lifespan(app):
        yield
        raise RuntimeError("3 connections leaked")

    app = fastapi.FastAPI(lifespan=lifespan)
    app.post("/engagelab")(lambda: "")

    @pytest.fixture
    def engagelab_receiver():
        return Receiver.asgi(app, path="/engagelab")
"""


def test_a_lifespan_that_fails_at_shutdown_is_an_error_at_teardown(run: Run) -> None:
    result = run("def test_login(engagelab): engagelab.send()", given=SHOP)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(
        [
            "*ERROR at teardown of test_login*",
            "EngageLabMockError: Receiver.close: the app's lifespan shutdown failed: RuntimeError: 3 connections leaked"
            " (http://testserver/engagelab)",
            "  hint: correct the app's lifespan; the app's own exception is the cause",
            '*test_inner.py", line 7, in lifespan',
            '    raise RuntimeError("3 connections leaked")',
            "RuntimeError: 3 connections leaked",
        ]
    )
    assert OWN_FRAME not in result.stdout.str()


def test_a_lifespan_whose_app_was_never_called_is_not_an_error(run: Run) -> None:
    run("def test_login(engagelab): pass", given=SHOP).assert_outcomes(passed=1)


@pytest.mark.parametrize("way", ["SystemExit", "asyncio.CancelledError", "GeneratorExit", "BaseException"])
def test_an_app_that_raises_any_exception_fails_the_test(run: Run, way: str) -> None:
    given = f"""
        import asyncio, pytest
        from engagelab_mock import Receiver

        async def app(scope, receive, send):
            raise {way}("why")

        @pytest.fixture
        def engagelab_receiver():
            return Receiver.asgi(app, lifespan=False)
    """
    tests = """
        def test_login(engagelab):
            engagelab.send()

        @pytest.mark.asyncio
        async def test_together(engagelab):
            async with asyncio.TaskGroup() as group:
                group.create_task(engagelab.asend())
    """
    result = run(tests, given=given)
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["1  plan  *app_raised in *: the app raised *: why"])
    result.stdout.no_fnmatch_line("*pending*")


def test_an_interrupt_in_the_app_stops_the_run(pytester: pytest.Pytester) -> None:
    text = """
        import pytest
        from engagelab_mock import Receiver

        def app(environ, start_response):
            raise KeyboardInterrupt

        @pytest.fixture
        def engagelab_receiver():
            return Receiver.wsgi(app)

        def test_first(engagelab):
            engagelab.send(check=False)

        def test_second():
            pass
    """
    pytester.makepyfile(text)
    recorded = pytester.inline_run(*STRICT, *QUICK, no_reraise_ctrlc=True)
    assert recorded.ret == pytest.ExitCode.INTERRUPTED
    assert recorded.countoutcomes() == [0, 0, 0]
