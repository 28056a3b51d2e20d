"""The pages of a test run: `--engagelab-html` for all of it, `--engagelab-report` for explorations that failed."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent

import pytest

from tests.browser import open_browser
from tests.pages import assert_self_contained, open_page, pictures, read
from tests.pytest_plugin.conftest import QUICK, STRICT, Run

SHOP = """
    import pytest
    from engagelab_mock import Receiver, converges, decode

    statuses = {}

    def shop(environ, start_response):
        for row in decode(environ["wsgi.input"].read()).rows:
            statuses[row.message_id] = row.name
            if row.to == "+6590000000":
                start_response("500 <Broken>", [])
                return [b"<b>a bug</b>"]
        start_response("200 OK", [])
        return [b""]

    @pytest.fixture
    def engagelab_receiver():
        return Receiver.wsgi(shop, observe=statuses.get)
"""

TESTS = """
    def test_right(engagelab):
        engagelab.send("+6591234567", scenario=["plan", "sent"])

    def test_refused(engagelab):
        engagelab.send("+6590000000", scenario=["plan"], retry=[60])

    def test_wrong(engagelab):
        engagelab.send("+6590000000", scenario=["plan"], check=False)
        assert not engagelab.journal

    def test_every_order(engagelab):
        engagelab.explore("verified", duplicates=0, invariants=[converges()])

    def test_alone():
        pass
"""

MORE = """
    @pytest.mark.xfail(reason="a <known> bug")
    def test_known(engagelab):
        engagelab.send("+6590000000")

    @pytest.mark.xfail
    def test_better(engagelab):
        pass

    @pytest.mark.skip(reason="<later>")
    def test_skipped(engagelab):
        pass

    @pytest.fixture
    def unusable(engagelab):
        engagelab.send("+6591234567", scenario="delivrd")

    def test_error(unusable):
        pass

    @pytest.mark.parametrize("text", ["<script>alert(1)</script>", "\\u202e \\x00 \\U0001f600 שלום \\ud800"])
    def test_any_text(engagelab, text):
        print(text)
        assert text == 7
"""


def tiles(page: str) -> dict[str, int]:
    head = page.partition("<details")[0]
    return {what: int(number) for number, what in re.findall(r"<b>(\d+)</b> ([\w ]+)</li>", head)}


def test_the_page_of_a_run_has_its_counts_its_callbacks_and_its_failures(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "new" / "run.html"
    result = run(TESTS, f"--engagelab-html={path}", given=SHOP)
    result.assert_outcomes(passed=2, failed=3)
    result.stdout.fnmatch_lines([f"*EngageLab: page of the run: {path}*"])
    page = path.read_text(encoding="utf-8")
    assert tiles(page) == {"failed": 3, "passed": 2}
    text = read(page).text
    # The callbacks, with the answer to each attempt.
    assert '<li class="pass"><b>plan</b> 200</li><li class="pass"><b>sent</b> 200</li>' in page
    assert '<li class="fail"><b>plan</b> 500, 500</li>' in page
    # The request, the answer, the hint, and the receiver's state.
    for told in (
        "request: POST http://testserver/",
        "<b>a bug</b>",
        "500 <Broken>",
        "hint: ",
        '"message_status": "plan"',
    ):
        assert told in text
    assert len(re.findall(r"\d+: 'plan'", text)) == 2
    # Once for each callback: by the error of the one test, and for the other, which failed for another reason.
    assert text.count("request: POST http://testserver/") == 2
    # The exploration.
    assert len(pictures(page)) == 1
    assert "eg1:verified,delivered" in text
    # The failures come first.
    order = [
        text.index(name) for name in ("test_refused", "test_wrong", "test_every_order", "test_right", "test_alone")
    ]
    assert order == sorted(order)


@pytest.mark.slow
def test_a_page_is_written_for_each_exploration_that_failed(run: Run, tmp_path: Path) -> None:
    result = run(
        """
        def test_one(engagelab):
            engagelab.explore("sent_failed", duplicates=0, invariants=[converges()])

        @pytest.mark.parametrize("text", ["a/../<b>", "a/../(b)"])
        def test_two(engagelab, text):
            for _ in range(2):
                found = engagelab.explore("sent_failed", duplicates=0, invariants=[converges()], check=False)
            with pytest.raises(AssertionError):
                engagelab.replay("eg1:sent_failed,plan", invariants=[converges()])
            engagelab.explore("sent_failed", orderings=False, invariants=[converges()], duplicates=0)

        def test_replay(engagelab):
            engagelab.replay("eg1:sent_failed,plan", invariants=[converges()])
        """,
        f"--engagelab-report={tmp_path / 'new'}",
        given=SHOP,
    )
    result.assert_outcomes(passed=2, failed=2)
    names = sorted(path.name for path in (tmp_path / "new").iterdir())
    assert len(names) == 6
    assert all(re.fullmatch(r"[\w.-]+-[0-9a-f]{8}(-2)?\.html", name) for name in names)
    result.stdout.fnmatch_lines(["*EngageLab: explorations that failed, in *new*", "test_inner.py-test_one-*.html"])
    for name in names:
        assert name in result.stdout.str()
        page = (tmp_path / "new" / name).read_text(encoding="utf-8")
        assert "fails" in read(page).text
        assert len(pictures(page)) == 1


@pytest.mark.slow
def test_without_a_failure_no_page_is_written_and_nothing_is_said(run: Run, tmp_path: Path) -> None:
    result = run("def test_alone(engagelab): engagelab.send()", f"--engagelab-report={tmp_path / 'new'}", given=SHOP)
    result.assert_outcomes(passed=1)
    assert list((tmp_path / "new").iterdir()) == []
    assert "explorations" not in result.stdout.str()


@pytest.mark.slow
def test_a_path_that_cannot_be_used_ends_the_run(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for option, told in {
        f"--engagelab-html={tmp_path}": f"ERROR: --engagelab-html: {tmp_path} is a directory",
        f"--engagelab-html={tmp_path / 'file' / 'run.html'}": "ERROR: --engagelab-html: *",
        f"--engagelab-report={tmp_path / 'file'}": "ERROR: --engagelab-report: *file: File exists",
    }.items():
        result = run("def test_alone(): pass", option)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines([f"{told}*"])


@pytest.mark.slow
def test_every_outcome_is_counted_as_pytest_counts_it(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "run.html"
    result = run(TESTS + MORE, f"--engagelab-html={path}", "--deselect=test_inner.py::test_alone", given=SHOP)
    page = path.read_text(encoding="utf-8")
    counted = result.parseoutcomes()
    assert tiles(page) == {name.removesuffix("s") if name == "errors" else name: n for name, n in counted.items()}
    text = read(page).text
    assert "a <known> bug" in text
    assert "<later>" in text
    assert "unknown scenario 'delivrd'" in text
    assert "assert '<script>alert(1)</script>' == 7" in text
    assert not {"\x00", "\u202e", "\ud800"} & {*page}


@pytest.mark.slow
def test_workers_hand_over_their_parts(run: Run, pytester: pytest.Pytester, tmp_path: Path) -> None:
    alone, together, folder = tmp_path / "alone.html", tmp_path / "together.html", tmp_path / "pages"
    run(TESTS + MORE, f"--engagelab-html={alone}", given=SHOP)
    options = (f"--engagelab-html={together}", f"--engagelab-report={folder}")
    result = pytester.runpytest_subprocess(*STRICT, *QUICK, "-n2", *options)
    pages = [path.read_text(encoding="utf-8") for path in (alone, together)]
    assert tiles(pages[0]) == tiles(pages[1])
    # The tests, their callbacks and the pictures; the times differ.
    part = re.compile(r'<ol class="line">.*?</ol>|<summary>.*?<b>.*?</b>|<desc>.*?</desc>')
    assert len(part.findall(pages[0])) > 10
    assert sorted(part.findall(pages[0])) == sorted(part.findall(pages[1]))
    [path] = folder.iterdir()
    result.stdout.fnmatch_lines(
        ["*EngageLab: page of the run: *", "*EngageLab: explorations that failed, in *", path.name]
    )


@pytest.mark.slow
@pytest.mark.parametrize("raised", ["KeyboardInterrupt", "pytest.exit('enough')"])
def test_an_interrupted_run_has_its_page(pytester: pytest.Pytester, raised: str, tmp_path: Path) -> None:
    path = tmp_path / "run.html"
    last = f"""
    def test_interrupted(engagelab):
        engagelab.send("+6591234567", scenario=["plan", "target_valid"])
        raise {raised}

    def test_never(engagelab):
        pass
    """
    pytester.makepyfile(test_inner=dedent(SHOP) + dedent(TESTS) + dedent(last))
    pytester.runpytest_subprocess(*STRICT, *QUICK, f"--engagelab-html={path}")
    page = path.read_text(encoding="utf-8")
    why = {"KeyboardInterrupt": "KeyboardInterrupt", "pytest.exit('enough')": "Exit: enough"}[raised]
    assert f"The run ended early: {why}." in read(page).text
    assert "5 of 7 tests ran." in read(page).text
    assert tiles(page) == {"failed": 3, "passed": 2}
    assert "not finished" in read(page).text
    assert "<b>target_valid</b> 200" in page
    assert "test_never" not in page


@pytest.mark.slow
def test_files_that_cannot_be_collected_are_on_the_page(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "run.html"
    result = run("import <nothing>", f"--engagelab-html={path}")
    result.assert_outcomes(errors=1)
    page = path.read_text(encoding="utf-8")
    assert tiles(page) == {"error": 1}
    assert "import <nothing>" in read(page).text


@pytest.mark.slow
def test_a_long_run_is_cut_and_says_so(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engagelab_mock.pytest_report.MOST", 10_000)
    path = tmp_path / "run.html"
    many = "@pytest.mark.parametrize('n', range(30))\n    def test_many(engagelab, n): engagelab.send('+6591234567')\n"
    run(f"    {many}{TESTS}", f"--engagelab-html={path}", given=SHOP)
    page = path.read_text(encoding="utf-8")
    [hidden] = re.findall(r"the callbacks of (\d+) tests are not shown", page)
    assert 10 < int(hidden) < 31
    assert tiles(page) == {"failed": 3, "passed": 32}
    assert page.count("test_many[") == 30
    assert '<li class="fail"><b>plan</b> 500, 500</li>' in page


@pytest.mark.slow
def test_a_browser_shows_the_run_without_a_request_and_without_scrolling(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("selenium")  # it is not there with the lowest versions
    from selenium.webdriver.common.by import By

    path = tmp_path / "run.html"
    run(TESTS + MORE, f"--engagelab-html={path}", given=SHOP)
    browser = open_browser(tmp_path / "profile")
    try:
        for width in (1100, 400):
            open_page(browser, path, width=width)
            assert_self_contained(browser, path)
        failed = browser.find_element(By.CSS_SELECTOR, "details[open]")
        assert "test_" in failed.find_element(By.TAG_NAME, "summary").text
        every = failed.find_element(By.TAG_NAME, "details")
        assert not every.find_element(By.TAG_NAME, "table").is_displayed()
        every.find_element(By.TAG_NAME, "summary").click()
        assert every.find_element(By.TAG_NAME, "table").is_displayed()
        assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    finally:
        browser.quit()
