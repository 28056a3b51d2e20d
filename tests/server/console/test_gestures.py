"""What a user can do to a message, a callback or a rule in the console, with the call that each gesture shows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from engagelab_mock import EngageLab, LiveClock, Receiver, fault
from engagelab_mock.server import ApiServer
from engagelab_mock.server.callbacks import identify
from tests.server.conftest import Talk, message
from tests.server.console.page import Page

pytestmark = pytest.mark.slow


@pytest.fixture
def engagelab() -> Iterator[EngageLab]:
    clock = LiveClock()
    clock.freeze()
    with EngageLab(Receiver.recording(), clock=clock, defaults={"check": False}) as engagelab:
        yield engagelab


def planned(page: Page, server: ApiServer, engagelab: EngageLab) -> str:
    """Send a message whose plan is sent, and open it; return its id."""
    name: str = Talk(server)("POST", "/v1/messages", message()).json["message_id"]
    engagelab.journal.wait_for(status="plan")
    page.open(f"#/messages/{name}")
    page.shows("What comes next")
    return name


def order(page: Page, part: str) -> list[str]:
    return [each.text for each in page.browser.find_elements(By.CSS_SELECTOR, f"[data-part='{part}'] li")]


TO_COME, AGAIN = "The order of what is to come", "Send again in another order"


def test_what_is_to_come_is_put_in_order_by_keys(page: Page, server: ApiServer, engagelab: EngageLab) -> None:
    name = planned(page, server, engagelab)
    assert page.until(lambda: order(page, TO_COME)) == ["sent", "delivered"]
    page.browser.execute_script("arguments[0].focus()", page.one(f"[data-part='{TO_COME}'] li"))
    page.type("J")
    page.shows("eg1:plan,delivered,sent")
    page.shows(f'curl -X POST -d \'{{"statuses":["delivered","sent"]}}\' {page.url}/_mock/messages/{name}/order')
    page.until(lambda: order(page, TO_COME) == ["delivered", "sent"])
    # The focus is still on the one that was moved.
    page.type("K")
    page.until(lambda: order(page, TO_COME) == ["sent", "delivered"])
    page.type("J")
    page.until(lambda: order(page, TO_COME) == ["delivered", "sent"])
    engagelab.clock.advance(seconds=60)
    engagelab.journal.wait_for(status="sent")
    assert engagelab.journal.statuses == ["plan", "delivered", "sent"]


def test_what_is_to_come_is_put_in_order_by_dragging(page: Page, server: ApiServer, engagelab: EngageLab) -> None:
    name = planned(page, server, engagelab)
    page.until(lambda: len(order(page, TO_COME)) == 2)
    first, second = page.browser.find_elements(By.CSS_SELECTOR, f"[data-part='{TO_COME}'] li")
    page.browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", first)
    ActionChains(page.browser).click_and_hold(first).move_to_element(second).move_by_offset(2, 0).perform()
    # A change does not take it out of the user's hand.
    shown = page.until(lambda: page.one("#now").text)
    Talk(server)("POST", f"/_mock/messages/{name}/delay", {"seconds": 60})
    Talk(server)("POST", "/_mock/clock/advance", {"seconds": 30})
    page.until(lambda: page.one("#now").text != shown)
    ActionChains(page.browser).release().perform()
    page.shows("eg1:plan,delivered,sent")
    page.until(lambda: order(page, TO_COME) == ["delivered", "sent"])


def test_sent_callbacks_are_sent_again_in_a_chosen_order(page: Page, engagelab: EngageLab) -> None:
    run = engagelab.begin_send("+6591234567", scenario=["plan", "sent", "delivered"])
    engagelab.clock.advance(seconds=60)
    engagelab.journal.wait_for(status="delivered")
    page.open(f"#/messages/{run.message_id}")
    page.until(lambda: order(page, AGAIN) == ["plan", "sent", "delivered"])
    page.browser.execute_script("arguments[0].focus()", page.one(f"[data-part='{AGAIN}'] li"))
    page.type("J", "J")
    assert order(page, AGAIN) == ["sent", "delivered", "plan"]
    page.click("send in this order")
    page.shows("eg1:sent,delivered,plan")
    page.until(lambda: engagelab.journal.statuses[3:] == ["sent", "delivered", "plan"])
    # Those that are sent meanwhile come last; the chosen order stays.
    page.until(lambda: order(page, AGAIN) == ["sent", "delivered", "plan"] * 2)


def test_headers_and_body_are_edited_before_a_callback_is_sent_again(page: Page, engagelab: EngageLab) -> None:
    run = engagelab.send("+6591234567", scenario=["plan"])
    page.open(f"#/callbacks/{identify(run.deliveries[0])}")
    page.press("summary")
    headers = page.value("textarea[name=headers]")
    kept = [line for line in headers.splitlines() if not line.startswith("User-Agent")]
    assert [line.partition(":")[0] for line in kept] == ["Content-Type", "X-CALLBACK-ID"]
    page.write("textarea[name=headers]", "\n".join([*kept, "X-Request-Id: 7"]), anew=True)
    edited = page.value("textarea[name=body]").replace('"plan"', '"sent"')
    page.write("textarea[name=body]", edited, anew=True)
    old = page.browser.current_url
    page.click("sign and send")
    page.until(lambda: page.browser.current_url != old)
    page.shows("X-Request-Id: 7")
    page.shows("Signature valid")
    sent = engagelab.journal.attempts[-1].callback
    assert dict(sent.headers.pairs).keys() == {"Content-Type", "X-CALLBACK-ID", "X-Request-Id"}
    assert sent.body.decode() == edited
    assert engagelab.journal.attempts[-1].acknowledged


def test_a_callback_that_is_not_edited_is_sent_as_it_was(page: Page, engagelab: EngageLab) -> None:
    run = engagelab.send("+6591234567", scenario=["plan"], fault="wrong_secret")
    page.open(f"#/callbacks/{identify(run.deliveries[0])}")
    page.click("sign and send")
    page.until(lambda: len(engagelab.journal.attempts) == 2)
    page.shows("200 OK")
    first, second = engagelab.journal.attempts
    assert first.callback.body == second.callback.body
    page.click("duplicate")
    page.until(lambda: len(engagelab.journal.attempts) == 4)


def test_a_fault_is_chosen_by_its_name(page: Page, engagelab: EngageLab) -> None:
    run = engagelab.send("+6591234567", scenario=["plan"])
    page.open(f"#/callbacks/{identify(run.deliveries[0])}")
    page.until(lambda: len(page.browser.find_elements(By.CSS_SELECTOR, "select[name=fault] option")) > 40)
    page.write("select[name=fault]", "stale", Keys.TAB)
    page.click("sign and send")
    page.until(lambda: len(engagelab.journal.attempts) == 2)
    assert next(iter(engagelab.journal.attempts[-1].faults)).name == "stale"


def test_a_user_replies_stop(page: Page, server: ApiServer, engagelab: EngageLab) -> None:
    Talk(server)("POST", "/v1/messages", message())
    page.shows("+6591234567")
    page.click("reply")
    page.until(lambda: engagelab.journal.where(kind="response"))
    [reply] = engagelab.journal.where(kind="response").events
    assert (reply.response.response_data.sender, reply.response.response_data.body) == ("+6591234567", "STOP")  # type: ignore[attr-defined]
    page.press("input[name=body]")
    page.type("no more", Keys.ENTER)
    page.until(lambda: len(engagelab.journal.where(kind="response").events) == 2)


def test_what_is_to_come_is_delayed_and_then_sent_at_once(page: Page, server: ApiServer, engagelab: EngageLab) -> None:
    name = planned(page, server, engagelab)
    due = Talk(server)("GET", f"/_mock/messages/{name}").json["due"][0]["at"]
    page.press("input[name=seconds]")
    page.type("90", Keys.ENTER)
    page.until(lambda: Talk(server)("GET", f"/_mock/messages/{name}").json["due"][0]["at"] == due + 90)
    page.click("the next one now")
    page.until(lambda: engagelab.journal.statuses == ["plan", "sent"])
    page.click("delivered_failed")
    page.until(lambda: engagelab.journal.statuses[-1] == "delivered_failed")
    page.open("#/clock")
    page.click("until the next event")
    page.shows("/_mock/clock/next")


def test_a_rule_for_a_recipient_and_a_template_fails_as_often_as_it_says(page: Page, server: ApiServer) -> None:
    page.open("#/rules")
    for name, text in (("to", "+6591234567"), ("template", "login"), ("error", "5013"), ("times", "2")):
        page.press(f"main input[name={name}]")
        page.type(text)
    page.type(Keys.ENTER)
    page.shows("error 5013, 2 times")
    talk = Talk(server)
    other = talk("POST", "/v1/messages", message("+6591234567", "welcome")).status
    answers = [talk("POST", "/v1/messages", message("+6591234567", "login")).json.get("code") for _ in range(3)]
    assert (other, answers) == (200, [5013, 5013, None])


def test_an_attempt_has_its_own_address_and_a_code_is_copied_by_a_key(
    page: Page, server: ApiServer, engagelab: EngageLab
) -> None:
    run = engagelab.begin_send("+6591234567", scenario=["plan"], fault=fault("wrong_secret", attempts=1), retry=[60])
    engagelab.journal.wait_for(outcome="not_200")
    engagelab.clock.advance(seconds=61)
    engagelab.journal.wait_for(message_id=run.message_id)
    page.open(f"#/callbacks/{identify(run.deliveries[0])}")
    page.until(lambda: page.browser.find_element(By.LINK_TEXT, "Attempt 1")).click()
    page.until(lambda: page.one(".chosen h3").text.startswith("Attempt 1"))
    page.browser.refresh()
    page.until(lambda: page.one(".chosen h3").text.startswith("Attempt 1"))
    Talk(server)("POST", "/v1/messages", message("+6591234568"))
    engagelab.clock.advance(seconds=10)
    code = engagelab.inbox("+6591234568").code
    page.open("#/phones")
    page.shows(str(code))
    page.type("c")
    page.shows(f"copied: {code}")
