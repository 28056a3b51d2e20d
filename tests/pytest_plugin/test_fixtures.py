"""`engagelab` and `engagelab_receiver`: alone, and with a receiver of each kind."""

from __future__ import annotations

import pytest
from pytest_httpserver import HTTPServer

from tests.pytest_plugin.conftest import Run


def test_three_lines_pass_with_nothing_configured(run: Run) -> None:
    text = """
        def test_verified(engagelab):
            run = engagelab.send("+6591234567")
            assert run.statuses == ["plan", "sent", "delivered", "verified"]
    """
    run(text).assert_outcomes(passed=1)


def test_the_bundled_receiver_records_the_verified_callbacks(run: Run) -> None:
    text = """
        def test_recorded(engagelab, engagelab_receiver):
            engagelab.send("+6591234567", scenario="delivered")
            received = engagelab_receiver.recorder.received
            assert [one.statuses for one in received] == [["plan"], ["sent"], ["delivered"]]
            assert all("X-CALLBACK-ID" in one.headers for one in received)

        def test_forged(engagelab):
            engagelab.receiver = engagelab.receiver.with_settings(secret="forged")
            engagelab.send("+6591234567")
    """
    result = run(text)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*NotAcknowledged: plan was not acknowledged: answered 401*"])


def test_ten_lines_over_a_flask_app(run: Run) -> None:
    text = """
        import flask, pytest
        from engagelab_mock import Receiver
        app = flask.Flask(__name__)
        @app.post("/engagelab")
        def callbacks():
            return "", 200
        @pytest.fixture
        def engagelab_receiver():
            return Receiver.wsgi(app, path="/engagelab", username="acme", secret="s3cret")
        def test_verified(engagelab):
            assert engagelab.send("+6591234567").statuses == ["plan", "sent", "delivered", "verified"]
    """
    run(text).assert_outcomes(passed=1)


SDK_FLASK = """
    import flask, pytest
    from engagelab_mock import Receiver
    from engagelab_otp import WebhookVerifier

    seen = []

    @pytest.fixture(params=["s3cret", "another"])
    def engagelab_receiver(request):
        app = flask.Flask(__name__)
        verifier = WebhookVerifier("acme", request.param)
        app.add_url_rule("/engagelab", view_func=verifier.flask_view(seen.append), methods=["POST"])
        return Receiver.wsgi(app, path="/engagelab", username="acme", secret="s3cret")

    def test_verified(engagelab):
        engagelab.send("+6591234567")
        assert len(seen) == 4
"""


def test_the_sdk_accepts_the_fixture_s_signature_and_refuses_another_secret(run: Run) -> None:
    result = run(SDK_FLASK, "-v")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*[[]s3cret] PASSED*", "*[[]another] FAILED*"])


FASTAPI = """
    import fastapi, pytest
    from engagelab_mock import Receiver

    app = fastapi.FastAPI()
    seen = []

    @app.post("/engagelab")
    async def callbacks(envelope: dict = fastapi.Body()):
        seen.extend(row["status"]["message_status"] for row in envelope["rows"])

    @pytest.fixture
    def engagelab_receiver():
        seen.clear()
        return Receiver.asgi(app, path="/engagelab", username="acme", secret="s3cret")
"""


def test_a_fastapi_app(run: Run) -> None:
    text = """
        def test_sent_failed(engagelab):
            engagelab.send("+6591234567", scenario="sent_failed")
            assert seen == ["plan", "sent_failed"]
    """
    run(text, given=FASTAPI).assert_outcomes(passed=1)


def test_an_async_test_and_a_class_over_a_fastapi_app(run: Run) -> None:
    text = """
        @pytest.mark.asyncio
        async def test_in_the_loop(engagelab):
            run = await engagelab.asend("+6591234567", scenario="delivered")
            assert run.statuses == seen == ["plan", "sent", "delivered"]

        class TestClass:
            @pytest.mark.asyncio
            async def test_in_a_class(self, engagelab):
                assert (await engagelab.asend("+6591234567")).acknowledged

            def test_without_a_loop(self, engagelab):
                assert engagelab.send("+6591234567").acknowledged

            @pytest.mark.asyncio
            async def test_the_wrong_verb(self, engagelab):
                engagelab.send("+6591234567")
    """
    result = run(text, given=FASTAPI)
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines([">*engagelab.send(*", "*in an async test use `await engagelab.asend(...)`*"])


def test_a_receiver_behind_a_real_socket(run: Run, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/engagelab", method="POST").respond_with_data("")
    text = f"""
        import pytest
        from engagelab_mock import Receiver

        @pytest.fixture
        def engagelab_receiver():
            return Receiver.http({httpserver.url_for("/engagelab")!r}, username="acme", secret="s3cret")

        def test_verified(engagelab):
            assert engagelab.send("+6591234567").acknowledged
    """
    run(text).assert_outcomes(passed=1)
    requests = [request for request, _ in httpserver.log]
    assert [row["status"]["message_status"] for request in requests for row in request.json["rows"]] == [
        "plan",
        "sent",
        "delivered",
        "verified",
    ]
    assert all(";username=acme;signature=" in request.headers["X-CALLBACK-ID"] for request in requests)


@pytest.mark.parametrize("returned", ["None", "'http://127.0.0.1:5000/'", "lambda environ, start_response: []"])
def test_a_receiver_fixture_that_returns_no_receiver(run: Run, returned: str) -> None:
    text = f"""
        import pytest

        @pytest.fixture
        def engagelab_receiver():
            return {returned}

        def test_it(engagelab):
            pass
    """
    result = run(text)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            "UsageError: the engagelab_receiver fixture returned *, which is not a Receiver",
            "  hint: return Receiver.wsgi(app, path=*), Receiver.asgi(app, path=*) or Receiver.http(url)",
            "*EngageLab deliveries*",
            "1  -*not accepted: the engagelab_receiver fixture returned*",
        ]
    )


def test_a_receiver_fixture_of_any_scope_serves_many_tests(run: Run) -> None:
    text = """
        @pytest.fixture(scope="session")
        def engagelab_receiver():
            return Receiver.asgi(app, path="/engagelab")

        @pytest.mark.parametrize("number", [1, 2, 3])
        def test_it(engagelab, number):
            assert engagelab.send("+6591234567").acknowledged
            assert len(engagelab.journal) == 4
    """
    run(text, given=FASTAPI).assert_outcomes(passed=3)
