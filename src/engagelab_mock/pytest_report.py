"""The HTML pages of a test run: `--engagelab-html` for the whole run, `--engagelab-report` for failed explorations.

A process that runs tests attaches its part to the report of each test's teardown, which xdist brings to the controller.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engagelab_mock import __version__
from engagelab_mock.delivery import timeline
from engagelab_mock.delivery.io import SYNC, run_sync
from engagelab_mock.delivery.model import Delivery
from engagelab_mock.delivery.page import block, page, table, text, tiles, utc
from engagelab_mock.errors import EngageLabMockError, NotAcknowledged, ScheduleFailed
from engagelab_mock.explore.exploration import Exploration
from engagelab_mock.explore.report_html import exploration_html, exploration_parts
from engagelab_mock.pytest_plugin import settings_of
from engagelab_mock.pytest_support import TestSettings, describe

#: The greatest numbers of characters of the page, of the part of one test, and of one text in it.
MOST, _PART, _TEXT = 5_000_000, 400_000, 20_000
#: The greatest number of messages whose state is shown, and of names of files and tests in a list.
_STATES, _NAMES = 3, 2_000
#: The attributes of the teardown's report, in which xdist carries a worker's part to the controller.
_HTML, _FILES = "engagelab_html", "engagelab_files"

_SEEN = pytest.StashKey[list[str]]()
_RAISED = pytest.StashKey[list[Exploration]]()
#: The deliveries that the test's error shows already.
_SHOWN = pytest.StashKey[list[Delivery]]()


def register(config: pytest.Config) -> None:
    """Register the plugins of the options that are given."""
    directory, file = config.getoption("engagelab_report"), config.getoption("engagelab_html")
    folder = None if directory is None else _usable(Path(directory), "--engagelab-report", folder=True)
    path = None if file is None else _usable(Path(file), "--engagelab-html", folder=False)
    config.pluginmanager.register(Parts(folder, html=path is not None), "engagelab_mock_parts")
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(RunPage(config, path, folder), "engagelab_mock_page")


def _usable(path: Path, option: str, *, folder: bool) -> Path:
    """Return an absolute path whose directory exists; raise pytest's usage error if there cannot be one."""
    path = Path(os.path.abspath(path))
    try:
        (path if folder else path.parent).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise pytest.UsageError(f"{option}: {path}: {error.strerror}") from None
    if not folder and path.is_dir():
        raise pytest.UsageError(f"{option}: {path} is a directory; give a file, such as {path / 'run.html'}")
    return path


class Parts:
    """Make the part of each test, in the process that runs it."""

    def __init__(self, folder: Path | None, *, html: bool) -> None:
        self._folder = folder
        self._html = html

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Attach the part to the teardown's report; read the state while the fixtures are there."""
        report = yield
        if call.excinfo is not None:
            item.stash[_RAISED].extend(_of_error(call.excinfo.value))
            if isinstance(call.excinfo.value, NotAcknowledged):
                item.stash[_SHOWN].append(call.excinfo.value.delivery)
        settings = settings_of(item)
        if self._html and report.failed and settings is not None:
            item.stash[_SEEN].extend(_states(settings))
        if call.when == "teardown":
            for name, part in self._parts(item).items():
                setattr(report, name, part)
        return report

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Hand over the part of a test that is interrupted, which has no report of a teardown."""
        item.stash[_SEEN], item.stash[_RAISED], item.stash[_SHOWN] = [], [], []
        try:
            return (yield)
        except BaseException:
            run = item.config.pluginmanager.get_plugin("engagelab_mock_page")
            if run is not None:
                run.take_parts(item.nodeid, self._parts(item))
            raise

    def _parts(self, item: pytest.Item) -> dict[str, Any]:
        """Return the part of a test, and the names of its pages, by the attributes of the report."""
        settings = settings_of(item)
        failed = _failed(settings, item.stash[_RAISED])
        parts: dict[str, Any] = {}
        if self._folder is not None and failed:
            parts[_FILES] = list(_written(self._folder, item.nodeid, failed))
        if self._html and (settings is not None or failed):
            parts[_HTML] = _cut("\n".join(_part(settings, failed, item.stash[_SEEN], item.stash[_SHOWN])))
        return parts


def _of_error(error: BaseException) -> list[Exploration]:
    """Return the exploration that raised an error; a single schedule that failed is one, too."""
    if not isinstance(error, ScheduleFailed):
        return []
    if error.exploration is not None:
        return [error.exploration]
    played = error.failure.played
    single = Exploration(1, 1, len(played.records), played.observed, len({*map(repr, played.states)}))
    single.failures, single.about = [error.failure], f"the schedule {error.failure.token}"
    return [single]


def _failed(settings: TestSettings | None, raised: list[Exploration]) -> list[Exploration]:
    """Return the explorations of a test that failed, in the order in which they were made."""
    own = [] if settings is None or settings.engagelab is None else settings.engagelab._engine.exploring.explorations
    known = [exploration for exploration in own if exploration.failures]
    held = [id(failure) for exploration in known for failure in exploration.failures]
    return known + [each for each in raised if id(each.failures[0]) not in held]


def _written(folder: Path, nodeid: str, explorations: Iterable[Exploration]) -> Iterator[str]:
    """Write a page for each exploration, and yield its name."""
    for number, exploration in enumerate(explorations, 1):
        name = file_name(nodeid) + (f"-{number}" if number > 1 else "") + ".html"
        (folder / name).write_text(exploration_html(exploration), encoding="utf-8")
        yield name


def file_name(nodeid: str) -> str:
    """Return a name for a file about a test: plain characters, and different for each test.

    >>> file_name("tests/test_shop.py::test_orders[a b]")
    'tests-test_shop.py-test_orders-a-b-81781097'
    """
    plain = re.sub(r"[^A-Za-z0-9_.]+", "-", nodeid).strip("-.")[-100:]
    return f"{plain}-{hashlib.sha256(nodeid.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def _states(settings: TestSettings) -> Iterator[str]:
    """Yield the states of the last messages, as the receiver's `observe` shows them now."""
    ids = list(dict.fromkeys(each.message_id for each in settings.journal.deliveries[::-1] if each.message_id))
    for receiver in settings.receivers:
        probe = receiver.probe({})
        for message_id in ids[:_STATES] if probe.observe is not None else ():
            try:
                shown = repr(run_sync(probe.look(SYNC, message_id)))
                probe.check_seen()
            except EngageLabMockError as error:
                shown = str(error)
            yield f"{message_id}: {_cut(shown, _TEXT)}"


def _part(
    settings: TestSettings | None, failed: Iterable[Exploration], states: list[str], shown: list[Delivery]
) -> Iterator[str]:
    """Yield the part of a test: its callbacks, those that were not acknowledged, states, failed explorations."""
    if settings is not None:
        deliveries = settings.journal.deliveries
        yield from timeline.lines(deliveries)
        if deliveries:
            yield "<details><summary>Every attempt</summary><div>"
            yield from (f"<p><code>{text(describe(receiver))}</code></p>" for receiver in settings.receivers)
            yield from timeline.attempts(deliveries)
            yield "</div></details>"
        yield from timeline.refusals(settings.journal.refusals)
        yield from timeline.failures([each for each in deliveries if each not in shown])
    if states:
        yield "<h3>The receiver's state when the test failed</h3>"
        yield block(states)
    for exploration in failed:
        yield from exploration_parts(exploration, level=3)


def _cut(given: str, most: int = _PART) -> str:
    if len(given) <= most:
        return given
    return "" if most == _PART else f"{given[:most]}… ({len(given) - most} more characters)"


class _Test(msgspec.Struct):
    """Hold the reports of one test as they arrive."""

    nodeid: str
    #: The category of each report, as pytest counts them, and the texts of failures, each with its phase.
    outcomes: list[str] = []
    texts: list[tuple[str, str]] = []
    seconds: float = 0.0
    html: str | None = None


#: The styles of pytest's categories, the worst first; others follow.
_STYLES = {"failed": "fail", "error": "fail", "xpassed": "warn", "xfailed": "soft", "skipped": "soft", "passed": "pass"}


class RunPage:
    """Collect the reports of all tests, and write the page when the run ends."""

    def __init__(self, config: pytest.Config, path: Path | None, folder: Path | None) -> None:
        self._config = config
        self._path = path
        self._folder = folder
        self._files: list[str] = []
        self._tests: dict[str, _Test] = {}
        self._counts: dict[str, int] = {}
        self._size = 0
        self._started = time.time()
        self._interrupted = ""

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Take a test that begins; it can be interrupted."""
        self._test(nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the report of a test's setup, call or teardown, of this process or of a worker."""
        category = self._config.hook.pytest_report_teststatus(report=report, config=self._config)[0]
        self._enter(category, report)
        self._test(report.nodeid).seconds += report.duration
        self.take_parts(report.nodeid, vars(report))

    def take_parts(self, nodeid: str, parts: Mapping[str, Any]) -> None:
        """Take the part of a test, and the names of its pages."""
        self._files += parts.get(_FILES, [])
        html, test = parts.get(_HTML), self._test(nodeid)
        if html is not None:
            # Of a long run, the tests that passed are the first whose callbacks are not shown.
            most = MOST if _style(test) == "pass" else 2 * MOST
            test.html = html if self._size + len(html) <= most else ""
            self._size += len(test.html)

    def _test(self, nodeid: str) -> _Test:
        return self._tests.setdefault(nodeid, _Test(nodeid))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Take a file that could not be collected."""
        if report.failed or report.skipped:
            self._enter("error" if report.failed else "skipped", report)

    def pytest_deselected(self, items: Iterable[pytest.Item]) -> None:
        """Count the tests that are not run."""
        self._counts["deselected"] = self._counts.get("deselected", 0) + len(list(items))

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Remember why the run ended."""
        self._interrupted = excinfo.typename + (f": {excinfo.value}" if str(excinfo.value) else "")

    def _enter(self, category: str, report: pytest.TestReport | pytest.CollectReport) -> None:
        test = self._test(report.nodeid)
        if category and getattr(report, "count_towards_summary", True):
            self._counts[category] = self._counts.get(category, 0) + 1
        if category:
            test.outcomes.append(category)
        shown = report.longreprtext if report.failed else _reason(report)
        if shown:
            test.texts.append((report.when or "call", _cut(shown, _TEXT)))
        if report.failed:
            captured = [(name, content) for name, content in report.sections if name != "EngageLab deliveries"]
            test.texts += [(name, _cut(content, _TEXT)) for name, content in captured]

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int | pytest.ExitCode) -> None:
        """Write the page, however the run ended."""
        stopped = session.shouldfail or session.shouldstop
        self._interrupted = self._interrupted or (stopped if isinstance(stopped, str) else "")
        if self._path is not None:
            body = list(self._body(session.testscollected))
            self._path.write_text(page("engagelab-mock: test run", body), encoding="utf-8")

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Say where the pages are."""
        if self._path is not None:
            terminalreporter.write_sep("-", f"EngageLab: page of the run: {self._path}")
        if self._files:
            terminalreporter.write_sep("-", f"EngageLab: explorations that failed, in {self._folder}")
            for name in self._files[:_NAMES]:
                terminalreporter.write_line(name)

    def _body(self, collected: int) -> Iterator[str]:
        ordered = sorted(self._tests.values(), key=lambda test: _style(test) != "fail")
        yield f"<h1>{self._verdict()}</h1>"
        seed = self._config.getoption("engagelab_seed") or self._config.getini("engagelab_seed") or "0"
        took = time.time() - self._started
        versions = f"engagelab-mock {__version__}, pytest {pytest.__version__}"
        yield f'<p class="soft">{utc(self._started)}, in {took:.1f} s, {versions}, seed {text(seed)}</p>'
        names = [*_STYLES, *(name for name in self._counts if name not in _STYLES)]
        yield from tiles((_STYLES.get(n, "soft"), self._counts[n], n) for n in names if n in self._counts)
        ran = sum(bool(test.outcomes) for test in self._tests.values())
        if self._interrupted:
            yield f'<p class="warn">The run ended early: {text(self._interrupted)}. {ran} of {collected} tests ran.</p>'
        hidden = sum(test.html == "" for test in ordered)
        if hidden:
            yield f'<p class="warn">The page would be too large: the callbacks of {hidden} tests are not shown.</p>'
        yield from map(_shown, [test for test in ordered if test.html or test.texts])
        others = [test for test in ordered if not (test.html or test.texts)]
        if others:
            yield f"<h2>Tests without callbacks ({len(others)})</h2>"
            yield table(("outcome", "test"), [(", ".join(each.outcomes), each.nodeid) for each in others[:_NAMES]])
            if len(others) > _NAMES:
                yield f'<p class="warn">{len(others) - _NAMES} more tests are not shown.</p>'

    def _verdict(self) -> str:
        bad = [f"{self._counts[name]} {name}" for name in ("failed", "error") if name in self._counts]
        if bad:
            return f'<span class="fail">{", ".join(bad)}</span>'
        if self._interrupted or not self._counts.get("passed"):
            return (
                '<span class="warn">The run is not complete</span>' if self._interrupted else "No test passed or failed"
            )
        return '<span class="pass">No test failed</span>'


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Return why a test was skipped, or was expected to fail."""
    reason = getattr(report, "wasxfail", "")
    if report.skipped and not reason and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2]
    return str(reason)


def _style(test: _Test) -> str:
    """Return the style of the worst outcome of a test."""
    return next((style for name, style in _STYLES.items() if name in test.outcomes), "soft")


def _shown(test: _Test) -> str:
    style = _style(test)
    outcome = ", ".join(dict.fromkeys(test.outcomes)) or "not finished"
    parts = [
        f'<details{" open" if style == "fail" else ""}><summary><span class="badge {style}">{text(outcome)}</span>'
        f"<b>{text(test.nodeid)}</b><span class='soft'>{test.seconds:.2f} s</span></summary><div>"
    ]
    for name, shown in test.texts:
        parts += [f"<h3>{text(name)}</h3>", block(shown.splitlines())]
    if test.html == "":
        parts.append('<p class="warn">The callbacks are not shown, because the page would be too large.</p>')
    return "\n".join([*parts, test.html or "", "</div></details>"])
