"""EngageLab's data in a user's own Faker."""

from __future__ import annotations

import re
from random import Random

import pytest
from faker import Faker

from engagelab_mock import EngageLabProvider, Generator
from engagelab_mock.messages.message import check_recipient

METHODS = {
    "engagelab_message_id": r"\d{19}",
    "engagelab_business_id": r"\d{15}",
    "engagelab_template_key": r"auto_create_template[a-z0-9]{5}\d{12}",
    "engagelab_nonce": r"\d{12}",
    "engagelab_recipient": r"\+\d{10,14}",
    "engagelab_email": r"user\d{6}@example\.com",
    "engagelab_code": r"\d{6}",
    "engagelab_cost": r"0\.0\d{1,2}",
}


def make_fake(seed: int, locale: str = "en_US") -> Faker:
    fake = Faker(locale)
    fake.add_provider(EngageLabProvider)
    fake.seed_instance(seed)
    return fake


def draw(fake: Faker) -> list[object]:
    return [getattr(fake, method)() for method in METHODS]


@pytest.mark.parametrize("method", METHODS)
def test_each_method_gives_data_of_its_shape(method: str) -> None:
    assert re.fullmatch(METHODS[method], str(getattr(make_fake(1), method)()))


def test_every_public_method_of_the_provider_is_one_of_these() -> None:
    assert {name for name in vars(EngageLabProvider) if not name.startswith("_")} == set(METHODS)


def test_the_same_seed_gives_the_same_data_and_another_other() -> None:
    assert draw(make_fake(7)) == draw(make_fake(7))
    assert draw(make_fake(7)) != draw(make_fake(8))


def test_seeding_again_starts_over() -> None:
    fake = make_fake(7)
    first = draw(fake)
    assert draw(fake) != first
    fake.seed_instance(7)
    assert draw(fake) == first


def test_the_data_is_the_generator_s_own() -> None:
    assert make_fake(7).engagelab_message_id() == Generator(Random(7)).message_id()


def test_it_shares_the_randomness_of_faker_s_other_providers() -> None:
    plain, disturbed = make_fake(7), make_fake(7)
    disturbed.name()
    assert plain.engagelab_message_id() != disturbed.engagelab_message_id()


def test_another_locale_and_unique_values_work() -> None:
    fake = make_fake(7, "ja_JP")
    assert len({fake.unique.engagelab_message_id() for _ in range(100)}) == 100
    assert all(check_recipient(fake.engagelab_recipient()) for _ in range(100))


def test_a_code_can_be_longer() -> None:
    assert re.fullmatch(r"\d{10}", make_fake(1).engagelab_code(10))
    assert re.fullmatch(r"\d{4}", make_fake(1).engagelab_code(length=4))
