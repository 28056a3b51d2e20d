"""The page about an exploration: its counts, the failures in full, and any text of a receiver as text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from engagelab_mock import EngageLab, Exploration, Receiver, StatusEvent, converges, never_regresses
from engagelab_mock.explore.report_html import exploration_html
from tests.browser import open_browser
from tests.explore.books import Books, LastWriteWins
from tests.pages import NASTY, assert_self_contained, classes, open_page, pictures, read

if TYPE_CHECKING:
    from selenium.webdriver import Chrome


def explore(books: Books, *, observe: Any = None, **options: Any) -> Exploration:
    with EngageLab(Receiver.wsgi(books, observe=observe or books.kept.get)) as engagelab:
        return engagelab.explore("verified", **{"reset": books.reset, "check": False, **options})


def load(books: CountsInMemory, message_id: str) -> int:
    return books.credits.get(message_id, 0)


def save(books: CountsInMemory, message_id: str, credits: int) -> None:
    books.credits[message_id] = credits


class CountsInMemory(Books):
    """Read the credits, add one and write them: two handlers at the same time lose one."""

    def __init__(self) -> None:
        super().__init__()
        self.credits: dict[str, int] = {}

    def apply(self, rows: list[StatusEvent]) -> None:
        for row in rows:
            if row.name == "verified":
                save(self, row.message_id, load(self, row.message_id) + 1)


class ActsThenMarks(CountsInMemory):
    """Give the credit, and enter after it that the callback is known: a crash between the two gives two credits."""

    def apply(self, rows: list[StatusEvent]) -> None:
        for row in rows:
            if row.name == "verified" and not load(self, f"mark {row.message_id}"):
                save(self, row.message_id, load(self, row.message_id) + 1)
                save(self, f"mark {row.message_id}", 1)


def race(books: CountsInMemory, **options: Any) -> Exploration:
    points = {"switch_points": [load, save], "reset": books.credits.clear}
    return explore(books, observe=books.credits.get, **{"concurrent": 2, **points, **options})


@pytest.fixture(scope="module")
def failed() -> Exploration:
    return explore(LastWriteWins(), duplicates=0, invariants=[converges(), never_regresses("status")])


def rows(page: str) -> list[list[str]]:
    """Return the cells of each row of each table."""
    return [
        [re.sub(r"<.*?>", "", cell) for cell in re.findall(r"<t[hd].*?>(.*?)</t[hd]>", row)]
        for row in re.findall(r"<tr.*?>(.*?)</tr>", page, re.DOTALL)
    ]


def tiles(page: str) -> dict[str, str]:
    return {what.strip(): number for number, what in re.findall(r"<li class=\"\w+\"><b>(\d+)</b>(.*?)</li>", page)}


def test_it_says_what_was_explored_and_counts_as_the_exploration_does(failed: Exploration) -> None:
    page = exploration_html(failed, receiver="http://127.0.0.1:5000/engagelab")
    text = read(page).text
    assert "http://127.0.0.1:5000/engagelab , verified: in every order" in text
    assert tiles(page) == {
        "failures": str(len(failed.failures)),
        "of 24 schedules judged": "24",
        "callbacks sent": str(failed.deliveries),
        "states": str(failed.states),
    }
    merged = explore(LastWriteWins(), merge=True, invariants=[converges()], audit=3)
    assert merged.merging is not None
    counts = tiles(exploration_html(merged))
    assert counts["of them played"] == str(merged.merging.played)
    assert counts["played as an audit"] == "3"
    assert counts["times states merged"] == str(merged.merging.merged)
    assert counts["of 264 schedules judged"] == "264"


def test_the_first_failure_of_each_invariant_is_shown_in_full(failed: Exploration) -> None:
    page = exploration_html(failed)
    text = read(page).text
    assert "This receiver fails: converges: after delivered , expected {'status': 'verified'}" in text
    assert [heading in text for heading in ("Failure 1: converges", "Failure 2: never_regresses")] == [True, True]
    assert ["2", "delivered", "200", "status=&#x27;verified&#x27;", "status=&#x27;delivered&#x27;"] in rows(page)
    assert re.findall(r'<tr class="here"><td>(\d)</td><td>(\w+)', page) == [("2", "delivered"), ("2", "sent")]
    assert "pytest --engagelab-replay eg1:verified,delivered" in text
    assert "found by schedule 2 of 24, eg1:plan,sent,verified,delivered, and reduced" in text
    assert f"More failures ({len(failed.failures) - 2})" in text
    assert text.count("eg1:plan,verified,sent,delivered") == 1


def test_the_picture_has_the_failing_path(failed: Exploration) -> None:
    [svg] = pictures(exploration_html(failed))
    assert sum(classes(each) >= {"edge", "failing"} for each in svg.iter()) == 2


def test_handlers_at_the_same_time_stand_side_by_side() -> None:
    found = race(CountsInMemory())
    page = exploration_html(found)
    assert found.failures[0].token == "eg1:verified|verified@a2b"
    steps = rows(page)[rows(page).index(["a: verified", "b: verified"]) + 1 :][:4]
    assert [next(place for place, cell in enumerate(row) if cell) for row in steps] == [0, 1, 1, 0]
    assert [cell[:1] for row in steps for cell in row if cell] == ["1", "1", "2", "2"]
    assert "save(self, row.message_id, load(self, row.message_id) + 1)" in read(page).text
    [svg] = pictures(page)
    assert [text.text for text in svg.iter() if classes(text) >= {"label", "failing"}] == ["verified|verified@a2b"]
    assert sum(classes(each) >= {"state", "fork"} for each in svg.iter()) >= 2


def test_the_point_of_a_crash_is_marked() -> None:
    found = race(ActsThenMarks(), concurrent=None, crashes="handler")
    assert found.failures[0].token == "eg1:verified!crash@4"
    page = exploration_html(found)
    assert read(page).text.count("The handler, until it crashes") == 1
    [marked] = re.findall(r'<tr class="here"><td>(\d .*?)</td></tr>', page)
    assert marked.endswith("&lt;-- crashes before this")
    assert "an exception at the switch point" in read(page).text


def test_success_and_doubt_are_not_the_same() -> None:
    heading = re.compile(r"<h1>(.*?)</h1>")
    clean = exploration_html(explore(Books(), duplicates=0))
    assert heading.findall(clean) == ['No failure <span class="pass">in 24 schedules</span>']
    nothing = exploration_html(Exploration(total=24))
    assert heading.findall(nothing) == ['<span class="warn">Nothing was judged:</span> no callback was sent']
    part = exploration_html(Exploration(total=24, schedules=1, deliveries=4, stopped="interrupted", notes=["a <note>"]))
    assert heading.findall(part) == ['No failure <span class="warn">in 1 schedule of 24</span>']
    assert "interrupted: 23 schedules were not judged" in read(part).text
    assert "a <note>" in read(part).text
    assert "no state was seen" in read(part).text


def test_many_failures_are_cut_and_counted(failed: Exploration, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engagelab_mock.explore.report_html._BY_TOKEN", 3)
    page = exploration_html(failed)
    assert f"{len(failed.failures) - 5} more are not shown." in read(page).text
    assert len(page) < 60_000


class Nasty(Books):
    """Keep text that breaks pages as the status."""

    def later(self, known: str | None, status: str) -> str | None:
        return NASTY + status


def nasty() -> Exploration:
    books = Nasty()

    def judge(played: Any) -> str | None:
        return f"{NASTY}`" if len(played.records) > 1 else None

    judge.__name__ = NASTY
    observe = {"observe": lambda message_id: {NASTY: dict(books.kept.get(message_id, {}))}}
    return explore(books, duplicates=0, invariants=[judge], limit=3, **observe)


def test_any_text_is_a_text() -> None:
    page = exploration_html(nasty(), receiver=NASTY)
    page.encode()
    text = read(page).text
    assert "<script>alert(1)</script>" in text
    assert not {"\x00", "\x1b", "\u202e", "\ud800"} & {*page}
    assert "שלום 😀" in text


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    chrome = open_browser(tmp_path_factory.mktemp("profile"))
    yield chrome
    chrome.quit()


@pytest.mark.slow
@pytest.mark.parametrize("made", [lambda: race(CountsInMemory()), nasty], ids=["race", "nasty"])
def test_a_browser_shows_it_without_a_request_and_without_scrolling(made: Any, browser: Chrome, tmp_path: Path) -> None:
    path = tmp_path / "exploration.html"
    path.write_text(exploration_html(made()), encoding="utf-8")
    for width in (1100, 400):
        open_page(browser, path, width=width)
        assert_self_contained(browser, path)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_shows_red_and_bold(scheme: str, browser: Chrome, failed: Exploration, tmp_path: Path) -> None:
    from selenium.webdriver.common.by import By

    path = tmp_path / "exploration.html"
    path.write_text(exploration_html(failed), encoding="utf-8")
    open_page(browser, path, width=1100, scheme=scheme)

    def colour(style: str) -> tuple[int, int, int]:
        return tuple(map(int, re.findall(r"\d+", style)[:3]))  # type: ignore[return-value]

    def looks(selector: str) -> tuple[tuple[int, int, int], float]:
        found = browser.find_element(By.CSS_SELECTOR, selector)
        read = found.value_of_css_property
        return colour(read("stroke")), float(read("stroke-width").removesuffix("px"))

    (plain, thin), (red, _), (_, thick) = map(looks, [".edge:not([class*=' '])", ".edge.back", ".edge.failing"])
    assert thick > 2 * thin
    assert red[0] > 1.4 * red[1]
    assert abs(plain[0] - plain[1]) < 20
    [fork, *_] = browser.find_elements(By.CSS_SELECTOR, ".state.fork")
    assert colour(fork.value_of_css_property("stroke")) == red
    paper = colour(browser.find_element(By.CSS_SELECTOR, ".states .paper").value_of_css_property("fill"))
    ink = colour(browser.find_element(By.CSS_SELECTOR, ".states text").value_of_css_property("fill"))
    assert (min(paper) > 200 and max(ink) < 80) if scheme == "light" else (max(paper) < 60 and min(ink) > 180)
