"""A load on a receiver behind a server: right variants are clean, and each bug is found by the id of the message."""

from __future__ import annotations

import asyncio
import socket

import pytest

from engagelab_mock import EngageLab, LoadSummary, NothingObserved, Receiver, ReceiverFellShort, UsageError
from engagelab_mock.load.run import LoadRun
from tests.load import shop

pytestmark = pytest.mark.slow

EFFECTS = {"credits": "verified"}
MIX = {"verified": 8, "fallback": 1, "delivered": 1}


def loaded(app: shop.Shop, *, rate: float = 200, duration: float = 2, **options: object) -> LoadSummary:
    given: dict[str, object] = {"mix": MIX, "effects": EFFECTS, "check": False, "settle": 1, **options}
    with shop.serving(app) as receiver, EngageLab(receiver) as engagelab:
        return engagelab.load(rate=rate, duration=duration, **given)  # type: ignore[arg-type]


def ids(summary: LoadSummary, kind: str) -> set[str]:
    return {case.message_id for case in summary.cases if case.kind == kind}


@pytest.mark.parametrize("app", [shop.Shop, shop.WorksLater, shop.CountsRequests])
def test_a_right_receiver_is_clean(app: type[shop.Shop]) -> None:
    summary = loaded(app(), duplicates=0.2, reorder=0.2)
    summary.assert_clean()
    assert summary.made == summary.asked == sum(summary.outcomes.values())
    assert summary.observed == summary.messages
    assert summary.cases == ()


@pytest.mark.parametrize(
    ("app", "kind"),
    [(shop.Drops, "lost"), (shop.Forgets, "lost"), (shop.Doubles, "doubled"), (shop.Regresses, "regressed")],
)
@pytest.mark.parametrize("effects", [EFFECTS, None])
def test_each_bug_is_found_by_its_ids(app: type[shop.Shop], kind: str, effects: object) -> None:
    wrong = app()
    summary = loaded(wrong, duplicates=0.1, reorder=0.1, effects=effects)
    first = {case.message_id for case in summary.cases}
    assert first
    # Without declared effects, a bug that also hits a message before the load can make the kind uncertain.
    assert ids(summary, kind) == first if effects else ids(summary, kind)
    assert first <= wrong.wrong
    with pytest.raises(ReceiverFellShort, match=f"{kind}"):
        summary.assert_clean()


def test_a_callback_answered_with_500_is_never_acknowledged() -> None:
    wrong = shop.Refuses()
    summary = loaded(wrong, mix={"verified": 1})
    assert ids(summary, "never_acknowledged") <= wrong.wrong
    assert summary.answers[500] == len(ids(summary, "never_acknowledged")) > 0
    assert summary.state == "fell_short"


def test_a_callback_without_an_answer_is_a_maybe() -> None:
    wrong = shop.Stalls()
    summary = loaded(wrong, mix={"verified": 1}, duration=1.5)
    assert ids(summary, "maybe") == {case.message_id for case in summary.cases} <= wrong.wrong
    assert summary.outcomes["timeout"] > 0
    assert summary.latency.maximum >= 3
    assert summary.state == "fell_short"


def test_an_answer_lost_on_purpose_is_not_the_receivers_fault() -> None:
    summary = loaded(shop.Shop(), faults={"ack_lost": 0.1, "chunked": 0.1})
    summary.assert_clean()
    assert set(summary.faults) == {"ack_lost", "chunked"}


def test_a_receiver_that_shows_no_effect_is_not_judged() -> None:
    app = shop.KeepsNothing()
    with pytest.raises(NothingObserved, match="the receiver showed no effect: observe returned None"):
        loaded(app)
    assert app.requests < 100


def test_a_misspelt_effect_is_named() -> None:
    with pytest.raises(UsageError, match=r"no state had 'credts'.*\n.*did you mean 'credits'"):
        loaded(shop.Shop(), effects={"credts": "verified"}, duration=0.2)


def test_without_observe_effects_are_not_judged_and_that_is_said() -> None:
    with shop.serving(shop.KeepsNothing(), observe=None) as receiver, EngageLab(receiver) as engagelab:
        summary = engagelab.load(rate=200, duration=0.5)
    assert not summary.effects_judged
    assert summary.remarks == ("effects are not judged: nothing read the state of the messages after the load",)


def test_the_same_seed_makes_the_same_messages() -> None:
    made = []
    for _ in range(2):
        app = shop.Shop()
        loaded(app, seed="a", duration=0.5)
        made.append({key[:2] for key in app.applied if len(app.states) and key[0]})
    # The messages that were delivered before the load differ.
    assert len(made[0] & made[1]) >= 90


def test_messages_are_prepared_before_they_are_sent() -> None:
    app, known = shop.Shop(), set()
    served = shop.serving(app, prepare=lambda message: known.add(message.id))
    with served as receiver, EngageLab(receiver) as engagelab:
        summary = engagelab.load(rate=100, duration=0.5)
    assert {key[0] for key in app.applied} == known
    assert summary.messages < len(known)


def test_a_receiver_in_process_is_refused() -> None:
    with EngageLab() as engagelab, pytest.raises(UsageError, match="a load needs a receiver with a URL"):
        engagelab.load(rate=10, duration=1)


def test_a_misspelt_option_is_named() -> None:
    with EngageLab(Receiver.http("http://127.0.0.1:1/")) as engagelab, pytest.raises(UsageError, match="'duplicates'"):
        engagelab.load(rate=10, duration=1, duplicate=1)  # type: ignore[call-arg]


async def aload(receiver: Receiver) -> LoadSummary:
    with EngageLab(receiver) as engagelab:
        with pytest.raises(UsageError, match="an event loop runs here already"):
            engagelab.load(rate=100, duration=0.3)
        return await engagelab.aload(rate=100, duration=0.3)


def test_a_load_can_be_awaited() -> None:
    with shop.serving(shop.Shop()) as receiver:
        assert asyncio.run(aload(receiver)).effects_judged


@pytest.mark.parametrize("error", [ValueError("no terminal"), pytest.fail.Exception("too slow")])
def test_an_error_of_progress_ends_a_load_whose_receiver_never_answers(error: BaseException) -> None:
    def progress(*_: object) -> None:
        raise error

    with socket.create_server(("127.0.0.1", 0)) as silent:
        receiver = Receiver.http(f"http://127.0.0.1:{silent.getsockname()[1]}/", limit=0.2)
        run = LoadRun(receiver, {"rate": 40, "duration": 60}, progress=progress)
        with pytest.raises(type(error), match=str(error)):
            asyncio.run(asyncio.wait_for(run.run(), 20))


def test_a_receiver_that_is_not_there_is_unreachable() -> None:
    with EngageLab(Receiver.http("http://127.0.0.1:1/", username="a", secret="b")) as engagelab:
        summary = engagelab.load(rate=100, duration=0.2, check=False)
        assert summary.state == "unreachable"
        with pytest.raises(ReceiverFellShort, match="20 not acknowledged"):
            summary.assert_clean()
