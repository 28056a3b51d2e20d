"""What a recipient reads."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagelab_mock import CodeConfig, Generator, Template
from engagelab_mock.messages.template import fill

PLAIN = st.characters(exclude_characters="{}")
NAMES = st.from_regex(r"\A[A-Za-z_]\w{0,8}\Z")


@given(
    values=st.dictionaries(NAMES, st.text(), max_size=4),
    unset=NAMES,
    between=st.text(st.characters(exclude_characters="{}")),
)
def test_given_variables_are_filled_once_and_the_others_stay(values: dict[str, str], unset: str, between: str) -> None:
    values.pop(unset, None)
    content = between.join(f"{{{{{name}}}}}" for name in [*values, unset])
    assert fill(content, values) == between.join([*values.values(), f"{{{{{unset}}}}}"])


@given(bits=st.integers(1, 7), length=st.integers(4, 10), seed=st.integers())
def test_a_code_has_the_length_and_characters_of_its_config(bits: int, length: int, seed: int) -> None:
    config = CodeConfig(verify_code_type=bits, verify_code_len=length)
    code = config.draw(Generator.seeded(seed))
    assert len(code) == length
    assert set(code) <= set(config.alphabet)


@pytest.mark.parametrize(
    ("to", "channels"),
    [("+6591234567", ("whatsapp", "sms")), ("user@example.com", ("email",))],
)
def test_only_channels_that_reach_the_recipient_are_tried(to: str, channels: tuple[str, ...]) -> None:
    template = Template(template_id="login", send_channel_strategy="whatsapp|email|sms")
    assert template.channels_to(to) == channels
