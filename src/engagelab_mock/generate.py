"""Seeded ids, nonces, codes and recipients: realistic and reproducible, without any real person's data."""

from __future__ import annotations

from bisect import bisect
from itertools import accumulate
from random import Random

_DIGITS = "0123456789"

# Number ranges that regulators reserve for fiction and tests, so that no generated number belongs to a person:
# NANP 555-0100..0199, Ofcom 07700 900000..900999, ARCEP 06 39 98 xx xx, PTS 070-174 06 05..06 99.
_FICTIONAL = (
    ("+1212555", 100, 199, 4),
    ("+447700900", 0, 999, 3),
    ("+3363998", 0, 9999, 4),
    ("+467017406", 5, 99, 2),
)

# More of them, for a second run that must not repeat the numbers of the first: NANP 555-0100..0199 in 136 area codes,
# ARCEP 01 99 00, 02 61 91, 03 53 01, 04 65 71, 05 36 49 and 06 39 98 xx xx.
_MANY_FICTIONAL = (
    *((f"+33{prefix}", 0, 9999, 4) for prefix in (19900, 26191, 35301, 46571, 53649, 63998)),
    *((f"+1{first}{rest:02d}555", 100, 199, 4) for first in range(2, 10) for rest in (*range(1, 10), *range(12, 20))),
)
#: How many numbers there are up to the end of each range.
_SIZES = tuple(accumulate(high - low + 1 for _, low, high, _ in _MANY_FICTIONAL))


class Generator:
    """Generate ids and data from one `random.Random`.

    >>> Generator.seeded("demo").nonce() == Generator.seeded("demo").nonce()
    True
    """

    def __init__(self, random: Random) -> None:
        self.random = random

    @classmethod
    def seeded(cls, *seeds: object) -> Generator:
        """Make a generator from one or more seeds; the same seeds give the same data on every machine.

        >>> Generator.seeded(1, "tests/test_login.py::test_ok").message_id()
        '2034580125010435451'
        """
        # A str seed is hashed with SHA-512 by `random`, so it does not depend on PYTHONHASHSEED.
        return cls(Random(":".join(str(seed) for seed in seeds)))

    def message_id(self) -> str:
        """Return a 19-digit message id [S: 1742442805608914944].

        It is odd, so that it changes in a receiver that reads it as a floating-point number, and a test notices.

        >>> len(Generator.seeded(0).message_id())
        19
        """
        return str(self.random.randrange(1_700_000_000_000_000_001, 2_100_000_000_000_000_000, 2))

    def business_id(self) -> str:
        """Return a decimal business id of 15 digits [S: 100917676394736].

        >>> len(Generator.seeded(0).business_id())
        15
        """
        return str(self.random.randrange(100_000_000_000_000, 200_000_000_000_000))

    def template_key(self) -> str:
        """Return a template key in the form of the document's example [S: auto_create_templateu25az170295320745].

        >>> Generator.seeded(0).template_key().startswith("auto_create_template")
        True
        """
        letters = self.random.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=5)
        return f"auto_create_template{''.join(letters)}{self.random.randrange(10**11, 2 * 10**11):012d}"

    def nonce(self) -> str:
        """Return a nonce of 12 digits [S: 123123123123].

        >>> Generator.seeded(0).nonce().isdecimal()
        True
        """
        return "%012d" % (self.random.random() * 1_000_000_000_000)  # noqa: UP031  # the fastest way

    def recipient(self) -> str:
        """Return an E.164 phone number from a range that is reserved for fiction.

        >>> Generator.seeded(0).recipient().startswith("+")
        True
        """
        return self._number_from(self.random.choice(_FICTIONAL))

    def rare_recipient(self) -> str:
        """Return a phone number out of 73,600 that are reserved for fiction, for data that must seldom be repeated.

        >>> Generator.seeded(0).rare_recipient().startswith("+")
        True
        """
        # One of all these numbers, counted through the ranges: several times as fast as to draw a range first.
        place = int(self.random.random() * _SIZES[-1])
        found = bisect(_SIZES, place)
        prefix, _, high, width = _MANY_FICTIONAL[found]
        return prefix + str(high + 1 + place - _SIZES[found]).zfill(width)

    def _number_from(self, numbers: tuple[str, int, int, int]) -> str:
        prefix, low, high, width = numbers
        return f"{prefix}{self.random.randint(low, high):0{width}d}"

    def email(self) -> str:
        """Return an e-mail address in a domain that RFC 2606 reserves.

        >>> Generator.seeded(0).email().endswith("@example.com")
        True
        """
        return f"user{self.random.randrange(10**6):06d}@example.com"

    def code(self, length: int = 6) -> str:
        """Return a verification code of that many digits.

        >>> len(Generator.seeded(0).code(4))
        4
        """
        return "".join(self.random.choices(_DIGITS, k=length))

    def cost(self) -> float:
        """Return the price of one message in US dollars, to a tenth of a cent.

        >>> 0 < Generator.seeded(0).cost() < 0.1
        True
        """
        return self.random.randrange(5, 90) / 1000
