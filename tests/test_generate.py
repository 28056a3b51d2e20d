"""Seeded data: of the documented shapes, the same from the same seed on every machine, never a real person's."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable

import pytest

from engagelab_mock import Generator
from engagelab_mock.messages.message import check_recipient

SHAPES: dict[str, tuple[Callable[[Generator], object], str]] = {
    "message_id": (Generator.message_id, r"1[789]\d{17}|20\d{17}"),
    "business_id": (Generator.business_id, r"1\d{14}"),
    "template_key": (Generator.template_key, r"auto_create_template[a-z0-9]{5}1\d{11}"),
    "nonce": (Generator.nonce, r"\d{12}"),
    "recipient": (
        Generator.recipient,
        # The ranges that NANP, Ofcom, ARCEP and PTS keep for fiction.
        r"\+121255501\d\d|\+447700900\d{3}|\+3363998\d{4}|\+467017406(0[5-9]|[1-9]\d)",
    ),
    "rare_recipient": (
        Generator.rare_recipient,
        r"\+1[2-9](0[1-9]|1[2-9])55501\d\d|\+33(19900|26191|35301|46571|53649|63998)\d{4}",
    ),
    "email": (Generator.email, r"user\d{6}@example\.com"),
    "code": (Generator.code, r"\d{6}"),
    "cost": (Generator.cost, r"0\.0\d{1,2}"),
}


@pytest.mark.parametrize("name", SHAPES)
def test_data_has_its_documented_shape(name: str) -> None:
    draw, shape = SHAPES[name]
    generate = Generator.seeded(name)
    drawn = [str(draw(generate)) for _ in range(500)]
    assert [value for value in drawn if not re.fullmatch(shape, value)] == []
    assert len(set(drawn)) > 50


def test_recipients_come_from_every_range_and_are_valid() -> None:
    generate = Generator.seeded("ranges")
    drawn = [check_recipient(generate.recipient()) for _ in range(500)]
    assert {number[:3] for number in drawn} == {"+12", "+44", "+33", "+46"}
    assert check_recipient(generate.email())


def test_rare_recipients_are_seldom_repeated_in_a_second_run() -> None:
    first, second = (_rare_recipients(Generator.seeded(run), 1000) for run in ("first", "second"))
    assert len(first & second) < 40


def _rare_recipients(generate: Generator, count: int) -> set[str]:
    return {check_recipient(generate.rare_recipient()) for _ in range(count)}


@pytest.mark.parametrize("length", [4, 6, 10])
def test_a_code_has_as_many_digits_as_asked(length: int) -> None:
    assert re.fullmatch(rf"[0-9]{{{length}}}", Generator.seeded(0).code(length))


def test_a_message_id_read_as_a_float_is_another() -> None:
    generate = Generator.seeded("ids")
    for _ in range(1000):
        identifier = generate.message_id()
        assert int(identifier) % 2 == 1
        assert str(int(float(identifier))) != identifier


def test_ids_and_nonces_do_not_repeat() -> None:
    generate = Generator.seeded("unique")
    assert len({generate.message_id() for _ in range(10_000)}) == 10_000
    assert len({generate.nonce() for _ in range(10_000)}) == 10_000


def everything(generate: Generator) -> list[object]:
    return [draw(generate) for draw, _ in SHAPES.values()]


def test_the_same_seeds_give_the_same_data_and_others_other() -> None:
    assert everything(Generator.seeded(1, "a")) == everything(Generator.seeded("1", "a"))
    assert everything(Generator.seeded(1, "a")) != everything(Generator.seeded(1, "b"))
    assert everything(Generator.seeded(1, "a")) != everything(Generator.seeded(2, "a"))


def test_data_does_not_depend_on_the_process() -> None:
    program = (
        "from engagelab_mock import Generator; g = Generator.seeded(7, 'tests/test_a.py::test_b');"
        "print(g.message_id(), g.business_id(), g.template_key(), g.nonce(), g.recipient(), "
        "g.rare_recipient(), g.email(), g.code(), g.cost())"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout.strip()
        for hash_seed in ("0", "1", "random")
    }
    here = " ".join(map(str, everything(Generator.seeded(7, "tests/test_a.py::test_b"))))
    assert printed == {here}
