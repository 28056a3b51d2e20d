"""Faker: EngageLab's ids and data from your own Faker."""

from __future__ import annotations

# [provider]
from faker import Faker

from engagelab_mock import EngageLabProvider


def test_provider() -> None:
    fake = Faker()
    fake.add_provider(EngageLabProvider)
    fake.seed_instance(4711)
    assert len(fake.engagelab_message_id()) == 19
    assert fake.engagelab_recipient().startswith("+")
    assert fake.engagelab_email().endswith("@example.com")
    assert len(fake.engagelab_code(4)) == 4


# [seed]
def test_the_same_seed_makes_the_same_data() -> None:
    fakes = [Faker(), Faker()]
    for fake in fakes:
        fake.add_provider(EngageLabProvider)
        fake.seed_instance(4711)
    assert fakes[0].engagelab_message_id() == fakes[1].engagelab_message_id()
