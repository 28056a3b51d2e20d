"""EngageLab data for your own Faker: `fake.add_provider(EngageLabProvider)`."""

from __future__ import annotations

from typing import Any

from faker.providers import BaseProvider

from engagelab_mock.generate import Generator


class EngageLabProvider(BaseProvider):
    """Add EngageLab's ids and data to a Faker, drawn from that Faker's own seed.

    >>> from faker import Faker
    >>> fake = Faker()
    >>> fake.add_provider(EngageLabProvider)
    >>> fake.seed_instance(7)
    >>> len(fake.engagelab_message_id())
    19
    """

    def __init__(self, generator: Any) -> None:
        super().__init__(generator)
        # `fake.seed_instance` replaces the Random, so each call reads it again.
        self._faker = generator

    @property
    def _generate(self) -> Generator:
        return Generator(self._faker.random)

    def engagelab_message_id(self) -> str:
        """Return a 19-digit message id."""
        return self._generate.message_id()

    def engagelab_business_id(self) -> str:
        """Return a 15-digit business id."""
        return self._generate.business_id()

    def engagelab_template_key(self) -> str:
        """Return a template key."""
        return self._generate.template_key()

    def engagelab_nonce(self) -> str:
        """Return a nonce of 12 digits."""
        return self._generate.nonce()

    def engagelab_recipient(self) -> str:
        """Return an E.164 phone number from a range that is reserved for fiction."""
        return self._generate.recipient()

    def engagelab_email(self) -> str:
        """Return an e-mail address in a reserved domain."""
        return self._generate.email()

    def engagelab_code(self, length: int = 6) -> str:
        """Return a verification code of that many digits."""
        return self._generate.code(length)

    def engagelab_cost(self) -> float:
        """Return the price of one message in US dollars."""
        return self._generate.cost()
