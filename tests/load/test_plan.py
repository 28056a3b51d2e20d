"""The plan: exact rates, the shares of the mix, and messages that no other worker has."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict

import pytest

from engagelab_mock import CATALOGUE, DIALECTS, Dialect, Generator, Message, UsageError, encode
from engagelab_mock.load.plan import Plan, Planned, segments, times
from engagelab_mock.load.template import BodyTemplate
from engagelab_mock.messages.account import Account
from engagelab_mock.messages.scenario import timeline

MIX = {"verified": 8, "fallback": 1, "lost": 1}


def by_message(plan: Plan) -> dict[str, list[Planned]]:
    found = defaultdict(list)
    for planned in plan:
        found[planned.message.id].append(planned)
    return found


def test_the_rate_is_exact_from_the_first_second_to_the_last() -> None:
    seconds = Counter(int(planned.at) for planned in Plan(MIX, segments(100, 5)))
    assert [seconds[second] for second in range(4)] == [100, 100, 100, 100]
    # The last places hold no whole message.
    assert 90 < seconds[4] <= 100


def test_a_ramp_and_steps_rise_to_the_rate() -> None:
    ramp = Counter(int(at) for at in times(segments(100, 4, ramp=2)))
    assert [ramp[second] for second in range(4)] == [25, 75, 100, 100]
    steps = Counter(int(at) for at in times(segments(90, 3, steps=3)))
    assert [steps[second] for second in range(3)] == [30, 60, 90]


def test_every_message_that_begins_gets_all_its_callbacks_in_order() -> None:
    for planned in by_message(Plan(MIX, segments(200, 5))).values():
        assert [each.step for each in planned] == list(range(planned[0].message.planned))
        gaps = [later.at - earlier.at for earlier, later in itertools.pairwise(planned)]
        assert all(gap > 0 for gap in gaps)


def test_the_callbacks_of_a_message_keep_their_distance() -> None:
    # At the end, the last messages are finished sooner.
    early = [each for each in by_message(Plan(MIX, segments(200, 5), spacing=0.4)).values() if each[-1].at < 4]
    gaps = [later.at - one.at for each in early for one, later in itertools.pairwise(each)]
    assert min(gaps) >= 0.2
    assert 0.3 < sum(gaps) / len(gaps) < 0.6


def test_the_mix_has_its_shares() -> None:
    names = Counter(each[0].message.lifecycle.name for each in by_message(Plan(MIX, segments(1000, 10))).values())
    assert names.keys() == {"verified", "fallback"}
    assert 6 < names["verified"] / names["fallback"] < 11


def test_a_duplicate_comes_after_its_original() -> None:
    seen = 0
    for planned in by_message(Plan({"verified": 1}, segments(200, 5), duplicates=0.3)).values():
        order = [(each.step, each.copy) for each in planned]
        duplicates = [step for step, copy in order if copy]
        seen += len(duplicates)
        assert all(order.index((step, 0)) < order.index((step, 1)) for step in duplicates)
    assert seen > 100


def test_reordered_callbacks_come_after_the_next_one() -> None:
    orders = [
        [each.step for each in planned] for planned in by_message(Plan(MIX, segments(200, 5), reorder=0.3)).values()
    ]
    assert sum(order != sorted(order) for order in orders) > 50
    assert all(sorted(order) == list(range(len(order))) for order in orders)


def test_each_fault_has_its_share() -> None:
    faults = Counter(planned.fault for planned in Plan(MIX, segments(1000, 5), faults={"ack_lost": 0.1, "bom": 0.2}))
    assert 400 < faults["ack_lost"] < 600
    assert 900 < faults["bom"] < 1100


def test_the_same_seed_makes_the_same_plan_and_another_seed_another() -> None:
    one, same, other = (
        [(each.at, each.message.id, each.step) for each in Plan(MIX, segments(50, 2), seed=seed)] for seed in "aab"
    )
    assert one == same != other


def test_workers_share_the_rate_and_no_id() -> None:
    plans = [Plan(MIX, segments(400, 5), worker=worker, workers=4) for worker in range(4)]
    ids = [{planned.message.id for planned in plan} for plan in plans]
    # Each has a range of its own, so no number of messages can meet those of another worker.
    assert all(max(map(int, one)) < min(map(int, other)) for one, other in itertools.pairwise(ids))
    assert sum(plan.total for plan in plans) == 2000


def test_a_later_plan_of_a_worker_uses_no_id_again() -> None:
    first = Plan(MIX, segments(100, 2))
    ids = {planned.message.id for planned in first}
    later = {planned.message.id for planned in Plan(MIX, segments(100, 2), messages=first.begun)}
    assert max(map(int, ids)) < min(map(int, later))


@pytest.mark.parametrize("name", [name for name in CATALOGUE if CATALOGUE[name].statuses])
@pytest.mark.parametrize(
    "spelling", [*DIALECTS.values(), Dialect(msg_time="event")], ids=lambda spelling: str(spelling.name)
)
def test_a_filled_template_is_the_body_that_is_sent_otherwise(name: str, spelling: Dialect) -> None:
    account = Account(Generator.seeded(1))
    generate = Generator.seeded(2)
    message = Message(
        id="1742442805608914944",
        to="+6591234567",
        template_key=account.template_key,
        business_id=account.business_id,
        accepted=1_700_000_000,
        msg_time=spelling.msg_time,
    )
    for step, (at, event) in enumerate(timeline(message, CATALOGUE[name], "sms", generate)):
        billing = event.status.billing
        filled = BodyTemplate(CATALOGUE[name], step, account, spelling).fill(
            message.id, message.to, 1_700_000_000, int(at), str(billing.cost) if billing else "0.05"
        )
        assert filled.encode("latin-1") == encode([spelling.spell(event)])


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"mix": {}}, "mix: it names no scenario with a share"),
        ({"mix": {"lost": 1}}, "mix: no scenario of the mix has a callback"),
        ({"mix": {"verfied": 1}}, "unknown scenario 'verfied'"),
        ({"mix": {"verified": -1}}, "mix, verified: its share is a number from 0, not -1"),
        ({"duplicates": 1.5}, "duplicates: a probability is a number from 0 to 1, not 1.5"),
        ({"faults": {"bom": 0.6, "ack_lost": 0.6}}, "faults: the probabilities are more than 1 in total"),
        ({"worker": 4, "workers": 4}, "worker: worker 4 of 4 does not exist"),
    ],
)
def test_a_plan_that_is_not_possible_is_refused(options: dict[str, object], error: str) -> None:
    given: dict[str, object] = {"mix": {"verified": 1}, "parts": segments(10, 1), **options}
    with pytest.raises(UsageError, match=error):
        Plan(**given)  # type: ignore[arg-type]


def test_a_load_too_short_for_a_message_is_refused() -> None:
    with pytest.raises(UsageError, match="the load has 2 callbacks, and its shortest scenario has 4"):
        Plan({"verified": 1}, segments(2, 1))


@pytest.mark.parametrize(("rate", "duration"), [(0, 1), (-1, 1), (float("nan"), 1), (float("inf"), 1), (1, 0)])
def test_a_rate_or_a_duration_that_is_not_above_0_is_refused(rate: float, duration: float) -> None:
    with pytest.raises(UsageError, match="it is a number above 0"):
        segments(rate, duration)
