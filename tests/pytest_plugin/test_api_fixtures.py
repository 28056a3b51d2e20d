"""The fixtures `engagelab_server` and `engagelab_api`, their marker arguments, and what fails a test late."""

from __future__ import annotations

import pytest

from tests.pytest_plugin.conftest import QUICK, STRICT, Run

GIVEN = """
    import json, os
    import pytest
    import requests
    from urllib.request import Request, urlopen

    MESSAGE = {"to": "+6591234567", "template": {"id": "my-template", "language": "default", "params": {}}}

    def call(engagelab_server, path, body, auth="a2V5OnNlY3JldA=="):
        headers = {"Authorization": f"Basic {auth}", "Content-Type": "application/json"}
        request = Request(engagelab_server.base_url + path, json.dumps(body).encode(), headers)
        with urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def post(body=MESSAGE, path="messages", auth=("key", "secret")):
        return requests.post(f"https://otp.api.engagelab.cc/v1/{path}", json=body, auth=auth, timeout=10)
"""


def test_all_fixtures_have_one_state(run: Run) -> None:
    text = """
        def test_it(engagelab, engagelab_server, engagelab_api):
            over_a_socket = call(engagelab_server, "/messages", MESSAGE)
            code = engagelab.inbox("+6591234567").code
            verification = {"message_id": over_a_socket["message_id"], "verify_code": code}
            assert post(verification, "verifications").json()["verified"]
            assert engagelab.journal.statuses == ["plan", "sent", "delivered", "verified"]

        def test_the_next_starts_afresh(engagelab, engagelab_server):
            assert not engagelab.inbox()
            assert engagelab.journal.statuses == []
    """
    run(text, given=GIVEN).assert_outcomes(passed=2)


def test_the_server_says_all_that_an_app_has_to_know(run: Run) -> None:
    text = """
        def test_it(engagelab_server):
            env = engagelab_server.env
            assert env["ENGAGELAB_BASE_URL"] == engagelab_server.base_url == engagelab_server.url + "/v1"
            assert env["ENGAGELAB_MOCK_SERVER"] == engagelab_server.url
            assert env["ENGAGELAB_DEV_KEY"] and env["ENGAGELAB_DEV_SECRET"]
            assert (env["ENGAGELAB_WEBHOOK_USERNAME"], env["ENGAGELAB_WEBHOOK_SECRET"]) == (
                "sandbox_demo", "sandbox_webhook_secret")
            with urlopen(engagelab_server.url + "/openapi.json", timeout=10) as served:
                assert json.load(served) == engagelab_server.openapi

        @pytest.mark.engagelab(dev_key="mine", dev_secret="s3cret", username="acme", secret="another")
        def test_the_marker_sets_the_options(engagelab_server):
            env = engagelab_server.env
            assert (env["ENGAGELAB_DEV_KEY"], env["ENGAGELAB_DEV_SECRET"]) == ("mine", "s3cret")
            assert (env["ENGAGELAB_WEBHOOK_USERNAME"], env["ENGAGELAB_WEBHOOK_SECRET"]) == ("acme", "another")
    """
    run(text, given=GIVEN).assert_outcomes(passed=2)


def test_the_marker_s_arguments_for_the_api(run: Run) -> None:
    text = """
        @pytest.mark.engagelab(dev_key="mine", dev_secret="s3cret")
        def test_credentials(engagelab_api):
            assert post().json()["code"] == 2001
            assert post(auth=("mine", "s3cret")).status_code == 200

        @pytest.mark.engagelab(strict_templates=True)
        def test_templates(engagelab_api):
            assert post().json()["code"] == 4001

        @pytest.mark.engagelab(strict_templates=False)
        def test_lax_templates(engagelab_api):
            assert post().status_code == 200

        @pytest.mark.engagelab(strict_content_type=True)
        def test_content_type(engagelab, engagelab_api, engagelab_server):
            import httpx
            body, auth = json.dumps(MESSAGE).encode(), ("key", "secret")
            for url in ("https://otp.api.engagelab.cc/v1", engagelab_server.base_url):
                for client, content in ((requests.post, "data"), (httpx.post, "content")):
                    given = {content: body, "headers": {"Content-Type": "text/plain"}}
                    assert client(f"{url}/messages", auth=auth, **given).json()["code"] == 3001
                    engagelab.reset()
                    assert client(f"{url}/messages", json=MESSAGE, auth=auth).status_code == 200

        @pytest.mark.engagelab(callback_before_response=True)
        def test_callbacks_before(engagelab, engagelab_api):
            seen = []
            engagelab.journal.listeners.append(lambda delivery, attempt: seen.append(delivery.statuses))
            assert post().status_code == 200
            assert ["plan"] in seen
    """
    run(text, given=GIVEN).assert_outcomes(passed=5)


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("dev_kye='x'", "did you mean 'dev_key'?"),
        ("dev_key=1", "dev_key is a string, not 1"),
        ("strict_templates='yes'", "strict_templates is True or False, not 'yes'"),
        ("callback_before_response=None", "callback_before_response is True or False, not None"),
    ],
)
def test_a_marker_argument_that_cannot_be_used_stops_the_run(run: Run, argument: str, said: str) -> None:
    text = f"""
        @pytest.mark.engagelab({argument})
        def test_it(engagelab):
            raise RuntimeError("this must not run")
    """
    result = run(text, given=GIVEN)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert said in result.stderr.str()


REFUSING = (
    GIVEN
    + """
    @pytest.fixture
    def refusing(engagelab):
        engagelab.receiver.recorder.answer = 500
"""
)


def test_a_late_delivery_that_is_not_acknowledged_fails_the_test_itself(run: Run) -> None:
    text = """
        def test_late(engagelab_api, refusing):
            assert post().status_code == 200

        def test_late_over_a_socket(engagelab_server, refusing):
            call(engagelab_server, "/messages", MESSAGE)

        def test_that_follows(engagelab, engagelab_api):
            assert post().status_code == 200
    """
    result = run(text, given=REFUSING)
    result.assert_outcomes(failed=2, passed=1)
    result.stdout.fnmatch_lines(
        [
            "*_ test_late _*",
            "NotAcknowledged: plan was not acknowledged: answered 500 *",
            "*EngageLab deliveries*",
            "1 * plan *+6591234567 *500 * not_200 *",
        ]
    )
    assert "pytest_plugin.py" not in result.stdout.str()
    result.stdout.no_fnmatch_line("*ERROR*")


def test_a_delivery_that_a_line_of_the_test_has_sent_fails_at_that_line(run: Run) -> None:
    text = """
        def test_it(engagelab, engagelab_api, refusing):
            post()
            engagelab.inbox("+6591234567")
            raise RuntimeError("this must not run")
    """
    result = run(text, given=REFUSING)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([">*engagelab.inbox*", "E*NotAcknowledged: plan was not acknowledged*"])


def test_the_test_s_own_failure_is_not_masked(run: Run) -> None:
    text = """
        def test_it(engagelab_api, refusing):
            post()
            assert False, "mine"
    """
    result = run(text, given=REFUSING)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E*AssertionError: mine"])
    assert "NotAcknowledged" not in result.stdout.str()


def test_a_late_failure_can_be_expected(run: Run) -> None:
    text = """
        @pytest.mark.xfail(strict=True)
        def test_it(engagelab_api, refusing):
            post()

        def test_one_that_is_skipped(engagelab_api, refusing):
            post()
            pytest.skip("not today")

        @pytest.mark.engagelab(check=False)
        def test_one_that_does_not_check(engagelab_api, refusing):
            post()
    """
    run(text, given=REFUSING).assert_outcomes(xfailed=1, skipped=1, passed=1)


def test_output_during_the_last_callbacks_is_captured_as_the_test_s(run: Run) -> None:
    text = """
        from engagelab_mock import Receiver

        @pytest.fixture
        def engagelab_receiver():
            def app(environ, start_response):
                print("the app was called")
                start_response("500 Oops", [])
                return []
            return Receiver.wsgi(app)

        def test_it(engagelab_api):
            post()
    """
    result = run(text, given=GIVEN)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*Captured stdout call*", "the app was called"])


@pytest.mark.slow
def test_under_xdist_it_is_the_same(run: Run, pytester: pytest.Pytester) -> None:
    text = """
        @pytest.mark.parametrize("number", range(4))
        def test_passing(engagelab, engagelab_server, number):
            call(engagelab_server, "/messages", MESSAGE)
            assert engagelab.inbox("+6591234567").code

        def test_late(engagelab_api, refusing):
            post()
    """
    run(text, given=REFUSING).assert_outcomes(passed=4, failed=1)
    result = pytester.runpytest_subprocess(*STRICT, *QUICK, "-n2")
    result.assert_outcomes(passed=4, failed=1)
    result.stdout.fnmatch_lines(["NotAcknowledged: plan was not acknowledged*"])


def test_httpx_is_answered_and_every_other_client_is_refused(run: Run) -> None:
    text = """
        import asyncio, socket
        import httpx

        URL = "https://otp.api.engagelab.cc/v1/messages"

        def test_httpx(engagelab, engagelab_api):
            assert httpx.post(URL, json=MESSAGE, auth=("key", "secret")).status_code == 200
            assert engagelab.inbox("+6591234567").code

        @pytest.mark.asyncio
        async def test_httpx_async(engagelab, engagelab_api):
            async with httpx.AsyncClient(auth=("key", "secret")) as client:
                assert (await client.post(URL, json=MESSAGE)).status_code == 200
            assert (await engagelab.ainbox("+6591234567")).code

        def test_urllib(engagelab_api):
            urlopen(Request(URL, b"{}", {"Authorization": "Basic cmVhbDpzZWNyZXQ="}), timeout=10)

        def test_swallowed(engagelab_api):
            try:
                socket.create_connection(("otp.api.engagelab.cc", 443))
            except ValueError:
                pass
            assert False, "the app answered 503"
    """
    result = run(text, given=GIVEN)
    result.assert_outcomes(passed=2, failed=2)
    refused = "engagelab_api: otp.api.engagelab.cc was not called: *"
    result.stdout.fnmatch_lines([f"E*UsageError: {refused}", "E*hint: *engagelab_server*"])
    result.stdout.fnmatch_lines(["E*AssertionError: the app answered 503", f"*not accepted: {refused}"])
    assert "cmVhbDpzZWNyZXQ" not in "\n".join(line for line in result.outlines if "urlopen(Request" not in line)


def test_a_refusal_shows_no_key_in_the_frames_of_the_client(run: Run) -> None:
    """The frames of a client show their arguments, and with -l their variables."""
    text = """
        import http.client

        class Client:
            def send(self, headers):
                extra = list(headers.items())
                http.client.HTTPSConnection("otp.api.engagelab.cc").request("POST", "/v1/messages", "{}", headers)

        def test_client(engagelab_api):
            Client().send({"authorization": "Basic " + "cmVhbDpzZWNy" + "ZXQ="})
    """
    result = run(text, "-l", "--tb=long", given=GIVEN)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["headers*= {'authorization': '***'}*", "extra *'authorization', '***'*", "E*UsageError*"]
    )
    assert "cmVhbDpzZWNyZXQ" not in result.stdout.str()


def test_a_run_without_the_fixtures_imports_neither_server_nor_requests(pytester: pytest.Pytester) -> None:
    text = """
        import sys

        def test_it(engagelab):
            engagelab.send("+6591234567")
            heavy = {"werkzeug", "responses", "requests", "httpx", "sqlite3", "engagelab_mock.server"}
            assert not heavy & set(sys.modules)

        def test_server(engagelab_server):
            others = {"responses", "requests", "httpx", "aiohttp", "sqlite3", "engagelab_mock.server.openapi"}
            assert not others & set(sys.modules)
    """
    pytester.makepyfile(test_inner=text)
    # Neither another plugin nor this suite's own modules are to have loaded any of it.
    pytester.runpytest_subprocess(*STRICT, *QUICK, "-p", "no:pytest_httpserver").assert_outcomes(passed=2)


def test_in_async_tests_an_asgi_receiver_is_called_by_the_awaiting_task_and_at_the_end(run: Run) -> None:
    text = r"""
        from engagelab_mock import Receiver

        seen = []

        async def app(scope, receive, send):
            body = (await receive())["body"]
            seen.append(json.loads(body)["rows"][0]["status"]["message_status"])
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})

        @pytest.fixture
        def engagelab_receiver():
            seen.clear()
            return Receiver.asgi(app, lifespan=False)

        @pytest.mark.asyncio
        async def test_awaited(engagelab, engagelab_server, engagelab_api):
            message = post().json()
            code = (await engagelab.ainbox("+6591234567")).code
            assert seen == ["plan", "sent", "delivered"]
            verification = {"message_id": message["message_id"], "verify_code": code}
            assert post(verification, "verifications").json()["verified"]
            # What tells of it is left to the end of the test, which has no event loop any more.

        @pytest.mark.asyncio
        async def test_asked_over_a_socket(engagelab, engagelab_server, engagelab_api):
            post()
            with urlopen(engagelab_server.url + "/_mock/inbox/+6591234567?wait=5", timeout=10) as answer:
                assert json.load(answer)["code"]
            assert seen == ["plan", "sent", "delivered"]

        @pytest.mark.asyncio
        async def test_asked_without_awaiting(engagelab, engagelab_api):
            post()
            with pytest.raises(ValueError, match=r"await engagelab\.ainbox"):
                engagelab.inbox("+6591234567")
    """
    run(text, given=GIVEN).assert_outcomes(passed=3)
