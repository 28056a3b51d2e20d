"""The `engagelab` marker: its settings, how markers merge, and the error for a misspelt one."""

from __future__ import annotations

import pytest

from tests.pytest_plugin.conftest import Run


@pytest.mark.parametrize(
    ("arguments", "statement"),
    [
        ("scenario='sent_failed'", "assert engagelab.send().statuses == ['plan', 'sent_failed']"),
        ("scenario=['plan', 'target_invalid']", "assert engagelab.send().statuses == ['plan', 'target_invalid']"),
        ("scenario=Scenario('mine').then('plan')", "assert engagelab.send().statuses == ['plan']"),
        ("to='user@example.com'", "assert engagelab.send().to == 'user@example.com'"),
        ("template='login'", "assert engagelab.send().message.template_key == 'login'"),
        (
            "channel='whatsapp'",
            "assert engagelab.send().events[1].status.status_data.current_send_channel == 'whatsapp'",
        ),
        ("custom_args={'order': 7}", "assert engagelab.send().events[0].custom_args == {'order': 7}"),
        ("check=False", "engagelab.receiver.recorder.answer = 500; assert not engagelab.send().acknowledged"),
        ("url='http://127.0.0.1:9/x'", "assert engagelab.receiver.address == 'http://127.0.0.1:9/x'"),
        (
            "username='acme', secret='s3cret'",
            "assert 'username=acme' in engagelab.send().deliveries[0].callback.headers['X-CALLBACK-ID']",
        ),
        (
            "username='', secret=''",
            "assert 'X-CALLBACK-ID' not in engagelab.send().deliveries[0].callback.headers",
        ),
        (
            "authorization='Bearer x'",
            "assert engagelab.send().deliveries[0].callback.headers.get('Authorization') == 'Bearer x'",
        ),
        ("retry=[60]", "engagelab.receiver.recorder.answer = 500; assert len(retried(engagelab)) == 2"),
        ("batch='all'", "assert len(engagelab.send().deliveries) == 1"),
        ("fault='missing_signature'", "assert 'X-CALLBACK-ID' not in engagelab.send().deliveries[0].callback.headers"),
        ("seed=7", "assert engagelab.seed.startswith('7:')"),
        (
            "dialect='newer'",
            "assert engagelab.send(scenario='sent_failed').events[1].status.message_status == 'sent_fail'",
        ),
        (
            "code_ttl=60",
            "engagelab.send(scenario='delivered'); engagelab.clock.advance(60);"
            "assert engagelab.journal.statuses[-1] == 'verified_timeout'",
        ),
        (
            "code_ttl=None",
            "engagelab.send(scenario='delivered'); engagelab.clock.advance(days=1);"
            "assert engagelab.journal.statuses[-1] == 'delivered'",
        ),
    ],
)
def test_each_argument_sets_its_default(run: Run, arguments: str, statement: str) -> None:
    text = f"""
        import pytest
        from engagelab_mock import Scenario

        @pytest.mark.engagelab({arguments})
        def test_marked(engagelab):
            {statement}

        def test_unmarked(engagelab):
            {statement}

        def retried(engagelab):
            return engagelab.send(check=False).deliveries[0].attempts
    """
    result = run(text, "-v")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*::test_marked PASSED*", "*::test_unmarked FAILED*"])


def test_the_function_goes_over_the_class_and_the_class_over_the_module_key_by_key(run: Run) -> None:
    text = """
        import pytest

        pytestmark = pytest.mark.engagelab(scenario="sent_failed", template="module", to="+6590000001")

        def test_module(engagelab):
            check(engagelab.send(), ["plan", "sent_failed"], "module", "+6590000001")

        @pytest.mark.engagelab(scenario="delivered", template="class")
        class TestClass:
            def test_class(self, engagelab):
                check(engagelab.send(), ["plan", "sent", "delivered"], "class", "+6590000001")

            @pytest.mark.engagelab(scenario="target_invalid")
            def test_function(self, engagelab):
                check(engagelab.send(), ["plan", "target_invalid"], "class", "+6590000001")

            @pytest.mark.engagelab(scenario="sent_failed")
            @pytest.mark.engagelab(template="second")
            def test_two_markers_add_up(self, engagelab):
                check(engagelab.send(), ["plan", "sent_failed"], "second", "+6590000001")

        def check(run, statuses, template, to):
            assert (run.statuses, run.message.template_key, run.to) == (statuses, template, to)
    """
    run(text).assert_outcomes(passed=4)


def test_the_call_goes_over_the_marker(run: Run) -> None:
    text = """
        import pytest

        @pytest.mark.engagelab(
            scenario="sent_failed", to="+6590000001", template="marker", channel="voice", custom_args={"a": 1},
            check=False,
        )
        def test_called(engagelab):
            run = engagelab.send(
                "+6590000002", scenario="delivered", template="call", channel="sms", custom_args={"a": 2}
            )
            sent = run.events[1]
            assert (run.to, run.statuses) == ("+6590000002", ["plan", "sent", "delivered"])
            assert (sent.status.status_data.template_key, sent.custom_args) == ("call", {"a": 2})
            assert sent.status.status_data.current_send_channel == "sms"
            engagelab.receiver.recorder.answer = 500
            engagelab.send()
            with pytest.raises(AssertionError, match="not acknowledged"):
                engagelab.send(check=True)
    """
    run(text).assert_outcomes(passed=1)


def test_a_parametrized_test_takes_a_marker_from_its_parameters(run: Run) -> None:
    text = """
        import pytest

        @pytest.mark.engagelab(template="all")
        @pytest.mark.parametrize(
            "last",
            [
                pytest.param("verified"),
                pytest.param("sent_failed", marks=pytest.mark.engagelab(scenario="sent_failed")),
            ],
        )
        def test_it(engagelab, last):
            run = engagelab.send()
            assert run.statuses[-1] == last
            assert run.message.template_key == "all"
    """
    run(text).assert_outcomes(passed=2)


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        ("scenaro='x'", ["unknown argument 'scenaro'", "  hint: did you mean 'scenario'[?] Known: authorization, *"]),
        ("scenario='delivred'", ["unknown scenario 'delivred'", "  hint: did you mean 'delivered'[?] Known: *"]),
        ("scenario=['plan', 'snt']", ["step 2: unknown status 'snt'", "  hint: did you mean 'sent'[?] Known: *"]),
        ("scenario=['verified', 'plan']", ["'verified' cannot follow 'start'*", "  hint: *"]),
        ("scenario=7", ["a scenario is a name, a Scenario or a list of statuses, not 7"]),
        ("channel='watsapp'", ["unknown channel 'watsapp'", "  hint: did you mean 'whatsapp'[?] Known: *"]),
        ("channel=['sms']", ["unknown channel [[]'sms'[]]", "  hint: did you mean 'sms'[?] Known: email, *"]),
        ("dialect='newr'", ["unknown dialect 'newr'", "  hint: did you mean 'newer'[?] Known: 2023-03, newer"]),
        (
            "to='+65 9123 4567'",
            ["'+65 9123 4567' is not an E.164 phone number", "  hint: did you mean '+6591234567'[?]"],
        ),
        ("url='htp://127.0.0.1'", ["'htp://127.0.0.1' has the scheme 'htp', *", "  hint: did you mean 'http'[?]"]),
        (
            "retry='vendor'",
            ["retry is a RetryPolicy or a list *", "  hint: the vendor's policy is RetryPolicy.vendor()"],
        ),
        ("retry=[60, -1]", ["RetryPolicy, wait 2: a delay of -1 s cannot pass", "  hint: *"]),
        ("fault='stael'", ["fault: unknown fault 'stael'", "  hint: did you mean 'stale'[?] Known: *"]),
        ("batch=0", ["*a batch is a number of events*not 0", "  hint: *"]),
        ("code_ttl=-1", ["a delay of -1 s cannot pass", "  hint: give zero or more seconds"]),
        (
            "'delivered'",
            ["takes keyword arguments only, not 'delivered'", "  hint: did you mean scenario='delivered'[?]"],
        ),
        ("['plan']", ["takes keyword arguments only, not [[]'plan'[]]", "  hint: write it as name=value"]),
    ],
)
def test_a_wrong_marker_is_a_usage_error_before_any_test_runs(run: Run, arguments: str, lines: list[str]) -> None:
    text = f"""
        import pytest

        def test_before():
            pass

        @pytest.mark.engagelab({arguments})
        def test_it(engagelab):
            pass
    """
    result = run(text)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.assert_outcomes()
    result.stderr.fnmatch_lines([f"ERROR: test_inner.py::test_it: *{lines[0]}", *lines[1:]], consecutive=True)


def test_a_wrong_marker_is_reported_once_however_many_tests_have_it(run: Run) -> None:
    text = """
        import pytest

        pytestmark = pytest.mark.engagelab(scenario="delivred")

        @pytest.mark.engagelab(code_ttl=-1)
        @pytest.mark.parametrize("number", range(20))
        def test_it(number):
            pass
    """
    result = run(text)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert result.stderr.str().count("unknown scenario 'delivred'") == 1
    result.stderr.fnmatch_lines(
        [
            "ERROR: test_inner.py::test_it[[]0] and 19 more: engagelab marker: a delay of -1 s cannot pass",
            "test_inner.py::test_it[[]0] and 19 more: engagelab marker: unknown scenario 'delivred'",
        ]
    )


def test_a_function_or_a_module_with_the_marker_s_name_does_not_count_as_one(
    run: Run, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(engagelab="answer = 42")
    run("import engagelab\ndef test_engagelab(): assert engagelab.answer").assert_outcomes(passed=1)
