"""Where a setting comes from: call > marker > command line > the receiver's fixture > ini file > default."""

from __future__ import annotations

import pytest

from tests.pytest_plugin.conftest import Run

#: Inner tests that print the options they got; the last line of their output is compared.
SHOW = """
    import pytest
    from engagelab_mock import Receiver

    def show(engagelab):
        settings = engagelab.receiver.settings
        shown = [engagelab.receiver.address, settings.username, settings.secret, settings.authorization]
        print("got", *[value or "-" for value in shown], engagelab.seed.partition(":")[0])
"""
PLAIN = """
    def test_it(engagelab):
        show(engagelab)
"""
MARKED = """
    @pytest.mark.engagelab(
        url="http://127.0.0.1:1/marker", username="marker", secret="m-secret", authorization="m-auth", seed="m"
    )
    def test_it(engagelab):
        show(engagelab)
"""
FIXTURE = """
    @pytest.fixture
    def engagelab_receiver():
        return Receiver.http(
            "http://127.0.0.1:1/fixture", username="fixture", secret="f-secret", authorization="f-auth", limit=0.5
        )
"""
OPTIONS = (
    "--engagelab-url=http://127.0.0.1:1/option",
    "--engagelab-username=option",
    "--engagelab-secret=o-secret",
    "--engagelab-authorization=o-auth",
    "--engagelab-seed=o",
)
INI = """
    [pytest]
    engagelab_url = http://127.0.0.1:1/ini
    engagelab_username = ini
    engagelab_secret = i-secret
    engagelab_authorization = i-auth
    engagelab_seed = i
"""


@pytest.fixture
def ini(pytester: pytest.Pytester) -> None:
    pytester.makeini(INI)


def got(result: pytest.RunResult) -> str:
    result.assert_outcomes(passed=1)
    [line] = [line for line in result.outlines if line.startswith(("got", "test_inner.py got"))]
    return line.partition("got ")[2]


def test_nothing_set_is_the_bundled_receiver_with_the_sandbox_credentials(run: Run) -> None:
    expected = "http://testserver/engagelab sandbox_demo sandbox_webhook_secret - 0"
    assert got(run(PLAIN, "-s", given=SHOW)) == expected


@pytest.mark.usefixtures("ini")
def test_the_ini_file_goes_over_the_default(run: Run) -> None:
    assert got(run(PLAIN, "-s", given=SHOW)) == "http://127.0.0.1:1/ini ini i-secret i-auth i"


def test_an_empty_ini_key_is_not_set(run: Run, pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nengagelab_url =\nengagelab_username =\nengagelab_secret =\nengagelab_seed =")
    expected = "http://testserver/engagelab sandbox_demo sandbox_webhook_secret - 0"
    assert got(run(PLAIN, "-s", given=SHOW)) == expected


@pytest.mark.usefixtures("ini")
def test_the_receivers_fixture_goes_over_the_ini_file(run: Run) -> None:
    expected = "http://127.0.0.1:1/fixture fixture f-secret f-auth i"
    assert got(run(PLAIN, "-s", given=SHOW + FIXTURE)) == expected


@pytest.mark.usefixtures("ini")
def test_the_ini_file_fills_in_settings_that_the_receivers_fixture_leaves_open(run: Run) -> None:
    text = """
        @pytest.fixture
        def engagelab_receiver():
            return Receiver.wsgi(lambda environ, start_response: [], path="/own", authorization="f-auth")

        def test_it(engagelab):
            show(engagelab)
    """
    assert got(run(text, "-s", given=SHOW)) == "http://testserver/own ini i-secret f-auth i"


@pytest.mark.usefixtures("ini")
def test_the_command_line_goes_over_the_ini_file(run: Run) -> None:
    assert got(run(PLAIN, "-s", *OPTIONS, given=SHOW)) == "http://127.0.0.1:1/option option o-secret o-auth o"


def test_the_command_line_goes_over_the_receivers_fixture(run: Run) -> None:
    expected = "http://127.0.0.1:1/option option o-secret o-auth o"
    assert got(run(PLAIN, "-s", *OPTIONS, given=SHOW + FIXTURE)) == expected


def test_another_address_keeps_the_rest_of_the_receivers_fixture(run: Run) -> None:
    text = """
        def test_it(engagelab):
            assert engagelab.receiver.limit == 0.5
            show(engagelab)
    """
    expected = "http://127.0.0.1:1/option fixture f-secret f-auth 0"
    assert got(run(text, "-s", OPTIONS[0], given=SHOW + FIXTURE)) == expected


def test_the_marker_goes_over_the_command_line(run: Run) -> None:
    assert got(run(MARKED, "-s", *OPTIONS, given=SHOW)) == "http://127.0.0.1:1/marker marker m-secret m-auth m"


@pytest.mark.usefixtures("ini")
def test_each_source_gives_way_key_by_key(run: Run) -> None:
    text = """
        @pytest.mark.engagelab(authorization="m-auth")
        def test_it(engagelab):
            show(engagelab)
    """
    expected = "http://127.0.0.1:1/fixture option o-secret m-auth i"
    assert got(run(text, "-s", *OPTIONS[1:3], given=SHOW + FIXTURE)) == expected


def test_an_empty_username_and_secret_turn_the_signature_off(run: Run) -> None:
    text = """
        def test_it(engagelab):
            assert engagelab.send().acknowledged
            show(engagelab)
    """
    off = ("--engagelab-username=", "--engagelab-secret=")
    assert got(run(text, "-s", *off, given=SHOW)) == "http://testserver/engagelab - - - 0"


@pytest.mark.parametrize("fixture", ["", FIXTURE.replace("username", "description").replace('secret="f-secret", ', "")])
@pytest.mark.parametrize("source", ["marker", "option", "ini"])
def test_a_username_without_a_secret_fails_the_set_up_and_is_in_the_report(
    run: Run, pytester: pytest.Pytester, source: str, fixture: str
) -> None:
    mark = '@pytest.mark.engagelab(username="acme")' if source == "marker" else ""
    if source == "ini":
        pytester.makeini("[pytest]\nengagelab_username = acme")
    options = ["--engagelab-username=acme"] if source == "option" else []
    text = f"""
    {mark}
    def test_it(engagelab):
        pass
    """
    result = run(text, *options, given=SHOW + fixture)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            "*ERROR at setup of test_it*",
            "InvalidSettings: secret: username 'acme' has no secret",
            "  hint: EngageLab requires a secret once a username is set*",
            "*- EngageLab deliveries -*",
            "1  -  *not accepted: secret: username 'acme' has no secret",
            "ERROR test_inner.py::test_it - Failed: InvalidSettings: secret: *",
        ]
    )
    assert "Traceback" not in result.stdout.str()
    assert "During handling" not in result.stdout.str()


def test_a_username_without_a_secret_in_the_receivers_fixture_fails_at_its_line(run: Run) -> None:
    fixture = """
    @pytest.fixture
    def engagelab_receiver():
        return Receiver.wsgi(lambda environ, start_response: [], username="acme")
    """
    result = run(PLAIN, given=SHOW + fixture)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [">       return Receiver.wsgi(*", "E  *InvalidSettings: secret: username 'acme' has no*"]
    )


@pytest.mark.parametrize("where", ["--engagelab-url=htp://127.0.0.1/", "ini"])
def test_an_address_that_cannot_be_used_fails_the_set_up(run: Run, pytester: pytest.Pytester, where: str) -> None:
    if where == "ini":
        pytester.makeini("[pytest]\nengagelab_url = htp://127.0.0.1/")
    result = run(PLAIN, *([] if where == "ini" else [where]), given=SHOW)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["InvalidSettings: *'htp://127.0.0.1/' has the scheme 'htp', not http or https"])


def test_a_setting_of_the_wrong_type_says_so(run: Run) -> None:
    text = """
    @pytest.mark.engagelab(username="acme", secret=None, authorization=b"x")
    def test_it(engagelab):
        pass
    """
    result = run(text, given=SHOW)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["InvalidSettings: *is a string, not *"])
