"""Ids and data come from the seed and the test's id, and from nothing else; nonces are other ones in every run."""

from __future__ import annotations

import re
import shlex

from tests.pytest_plugin.conftest import Run

DRAWING = """
    import pytest

    @pytest.fixture
    def draw(engagelab, request):
        run = engagelab.send()
        print("drew", request.node.name, run.message_id, run.to, engagelab.send().message_id, end=";")

    def test_a(draw): pass
    def test_b(draw): pass
    @pytest.mark.parametrize("number", [1, 2])
    def test_c(draw, number): pass
"""


def drawn(run: Run, *arguments: str, text: str = DRAWING) -> dict[str, str]:
    """Return by test the data it drew."""
    result = run(text, "-s", *arguments)
    assert result.ret == 0
    return parse(result.stdout.str())


def parse(output: str) -> dict[str, str]:
    return dict(re.findall(r"drew (\S+) (.*?);", output))


def test_each_test_draws_its_own_data_in_any_order(run: Run) -> None:
    first = drawn(run)
    assert len(first) == 4
    assert len(set(first.values())) == 4
    assert drawn(run, "test_inner.py::test_c", "test_inner.py::test_b", "test_inner.py::test_a") == first
    assert drawn(run, "-k", "test_b") == {"test_b": first["test_b"]}


def test_another_seed_draws_other_data_and_the_same_seed_the_same(run: Run) -> None:
    default, blue = drawn(run), drawn(run, "--engagelab-seed=blue")
    assert not set(default.values()) & set(blue.values())
    assert drawn(run, "--engagelab-seed=blue") == blue
    marked = DRAWING.replace("import pytest", "import pytest; pytestmark = pytest.mark.engagelab(seed='blue')")
    assert drawn(run, "--engagelab-seed=red", text=marked) == blue
    assert drawn(run, "--engagelab-seed=0") == default


NONCES = """
    def test_a(engagelab):
        for delivery in engagelab.send().deliveries:
            print("drew", delivery.statuses[0], delivery.callback.headers["X-CALLBACK-ID"].split(";")[1], end=";")
"""


def test_nonces_differ_in_every_run_unless_an_option_makes_them(run: Run) -> None:
    first, second = (drawn(run, text=NONCES) for _ in range(2))
    assert len({*first.values(), *second.values()}) == 8
    pinned = drawn(run, "--engagelab-nonce-seed=7", text=NONCES)
    assert drawn(run, "--engagelab-nonce-seed=7", text=NONCES) == pinned
    others = [("--engagelab-nonce-seed=8",), ("--engagelab-nonce-seed=7", "--engagelab-seed=1")]
    for options in others:
        assert not {*drawn(run, *options, text=NONCES).values()} & {*pinned.values()}


def test_the_option_that_a_failing_test_shows_brings_the_same_data_back(run: Run) -> None:
    text = """
        def test_it(engagelab):
            run = engagelab.send()
            assert not run.message_id
    """
    result = run(text, "--engagelab-seed=it's blue")
    result.assert_outcomes(failed=1)
    [message_id] = set(re.findall(r"(?<![\d.])\d{19}(?!\d)", result.stdout.str()))
    [option] = re.findall(r"the same data again: (.*)\)", result.stdout.str())
    assert message_id in run(text, *shlex.split(option)).stdout.str()
    assert message_id not in run(text).stdout.str()
