"""X-CALLBACK-ID: made as the document says, judged as the official SDK does, and never by an exception."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from engagelab_otp import WebhookSignatureError, WebhookVerifier
from hypothesis import given
from hypothesis import strategies as st

from engagelab_mock import Reason, Signature, Verdict, parse, sign, verify
from engagelab_mock.protocol.signature import HEADER, TOLERANCE, Signer
from tests.protocol.strategies import PROPERTY

AT = 1681991058
GOOD = sign("acme", "s3cret", timestamp=AT, nonce="123123123123")


def digest(secret: str, timestamp: str, nonce: str, username: str) -> str:
    """Sign with the standard library alone, as the document's formula says."""
    return hmac.new(secret.encode(), (timestamp + nonce + username).encode(), hashlib.sha256).hexdigest()


def header(**changes: str) -> str:
    parts = {"timestamp": str(AT), "nonce": "123123123123", "username": "acme", "signature": GOOD.signature} | changes
    return ";".join(f"{name}={value}" for name, value in parts.items())


def signed_header(timestamp: str, nonce: str = "123123123123", username: str = "acme") -> str:
    """Make a header whose signature is right for its own text."""
    signature = digest("s3cret", timestamp, nonce, username)
    return header(timestamp=timestamp, nonce=nonce, username=username, signature=signature)


def judge(value: str | None, *, now: float = AT, username: str = "acme", secret: str = "s3cret") -> Verdict:
    return verify(value, username=username, secret=secret, now=now)


def sdk_accepts(value: str, *, now: int = AT, username: str = "acme", secret: str = "s3cret") -> bool:
    try:
        return WebhookVerifier(username, secret).verify(value, now=now)
    except (WebhookSignatureError, TypeError, UnicodeError):  # it lets the last two out for non-ASCII text
        return False


def test_header_is_spelt_as_documented() -> None:
    expected = digest("s3cret", "1681991058", "123123123123", "test")
    assert HEADER == "X-CALLBACK-ID"
    assert sign("test", "s3cret", timestamp=1681991058, nonce="123123123123").header == (
        f"timestamp=1681991058;nonce=123123123123;username=test;signature={expected}"
    )


@given(st.text(min_size=1), st.text(min_size=1), st.integers(0, 10**12), st.text(min_size=1))
@PROPERTY
def test_signature_is_hmac_sha256_over_timestamp_nonce_and_username(
    username: str, secret: str, timestamp: int, nonce: str
) -> None:
    signature = sign(username, secret, timestamp=timestamp, nonce=nonce)
    assert signature.signature == digest(secret, str(timestamp), nonce, username)
    assert Signer(username, secret).header(timestamp, nonce) == signature.header


def test_a_signer_signs_again_and_again() -> None:
    signer = Signer("acme", "s3cret")
    first = signer.sign(AT, "1")
    assert signer.sign(AT, "2") == sign("acme", "s3cret", timestamp=AT, nonce="2")
    assert signer.sign(AT, "1") == first


def test_official_sdk_accepts_our_header_at_that_time() -> None:
    assert WebhookVerifier("acme", "s3cret").verify(GOOD.header, now=AT) is True


@pytest.mark.parametrize("secret", ["s3cret", "sécrèt", "密钥", "a;b=c", " ", "x" * 200])
def test_official_sdk_accepts_any_secret_s_signature(secret: str) -> None:
    signed = sign("acme", secret, timestamp=AT, nonce="1").header
    assert sdk_accepts(signed, secret=secret)
    assert judge(signed, secret=secret)


TAMPERED = [
    pytest.param(header(timestamp=str(AT + 1)), Reason.MISMATCH, id="timestamp"),
    pytest.param(header(nonce="123123123124"), Reason.MISMATCH, id="nonce"),
    pytest.param(header(username="acmf"), Reason.WRONG_USERNAME, id="username"),
    pytest.param(header(signature=GOOD.signature[:-1] + "0"), Reason.MISMATCH, id="last digit of the signature"),
    pytest.param(header(signature="0" * 64), Reason.MISMATCH, id="zeros"),
    pytest.param(header(signature=GOOD.signature.upper()), Reason.MISMATCH, id="upper-case signature"),
    pytest.param(header(signature=GOOD.signature[:32]), Reason.MALFORMED, id="first half of the signature"),
    pytest.param(header(signature=GOOD.signature + "00"), Reason.MALFORMED, id="signature with more after it"),
    pytest.param(header(signature=digest("other", str(AT), "123123123123", "acme")), Reason.MISMATCH, id="secret"),
]


@pytest.mark.parametrize(("value", "reason"), TAMPERED)
def test_tampered_header_is_refused_by_us_and_by_the_sdk(value: str, reason: Reason) -> None:
    assert judge(value).reason is reason
    assert not sdk_accepts(value)


def test_untampered_header_is_accepted() -> None:
    assert header() == GOOD.header
    assert judge(header()) == Verdict(Reason.VALID, "signed 0 s ago by acme")
    assert sdk_accepts(header())


def test_wrong_secret_is_refused_by_us_and_by_the_sdk() -> None:
    assert judge(GOOD.header, secret="S3cret").reason is Reason.MISMATCH
    assert not sdk_accepts(GOOD.header, secret="S3cret")


MALFORMED = [
    pytest.param("Bearer abc", "no timestamp, no nonce, no username, no signature", id="another scheme"),
    pytest.param(";;;", "no timestamp, no nonce, no username, no signature", id="separators"),
    pytest.param(GOOD.header.replace(";", ","), "no nonce, no username, no signature", id="commas"),
    pytest.param(header(nonce=""), "no nonce", id="empty nonce"),
    pytest.param(header(username=" "), "no username", id="blank username"),
    pytest.param(header().replace("signature", "Signature"), "no signature", id="other case"),
    pytest.param(header() + ";nonce=123123123123", "nonce occurs twice", id="duplicate"),
    pytest.param("timestamp=1;" + header(), "timestamp occurs twice", id="duplicate in front"),
    pytest.param(signed_header("01681991058"), "timestamp '01681991058' is not decimal", id="leading zero"),
    pytest.param(signed_header("-1681991058"), "timestamp '-1681991058' is not decimal", id="negative"),
    pytest.param(signed_header("+1681991058"), "timestamp '+1681991058' is not decimal", id="plus sign"),
    pytest.param(signed_header("1681991058.0"), "timestamp '1681991058.0' is not decimal", id="float"),
    pytest.param(signed_header("1.681991058e9"), "is not decimal", id="exponent"),
    pytest.param(signed_header("1_681_991_058"), "is not decimal", id="underscores"),
    pytest.param(signed_header("١٦٨١٩٩١٠٥٨"), "is not decimal", id="Arabic digits"),
    pytest.param(signed_header("0x6440a2d2"), "is not decimal", id="hexadecimal"),
    pytest.param(signed_header("9" * 5000), "is not decimal", id="thousands of digits"),
    pytest.param(header(signature="é" * 64), "signature is not 64 hex digits but 64 characters", id="non-ASCII"),
    pytest.param(header(signature="٣" * 64), "signature is not 64 hex digits", id="Arabic digits in the signature"),
    pytest.param(header(signature="sha256=" + GOOD.signature), "but 71 characters", id="prefixed"),
]


@pytest.mark.parametrize(("value", "said"), MALFORMED)
def test_a_malformed_header_gets_its_reason(value: str, said: str) -> None:
    verdict = judge(value)
    assert verdict.reason is Reason.MALFORMED
    assert not verdict
    assert parse(value) == verdict
    assert said in verdict.detail


@pytest.mark.parametrize(
    ("value", "username", "secret", "reason"),
    [
        pytest.param(header(nonce="\ud800"), "acme", "s3cret", Reason.MISMATCH, id="nonce"),
        pytest.param(header(username="\ud800"), "acme", "s3cret", Reason.WRONG_USERNAME, id="username"),
        pytest.param(header(), "\ud800", "s3cret", Reason.WRONG_USERNAME, id="expected username"),
        pytest.param(header(), "acme", "\ud800", Reason.MISMATCH, id="expected secret"),
    ],
)
def test_text_that_no_encoding_has_is_judged_too(value: str, username: str, secret: str, reason: Reason) -> None:
    assert judge(value, username=username, secret=secret).reason is reason


@pytest.mark.parametrize("value", [None, ""])
def test_no_header_is_missing(value: str | None) -> None:
    assert judge(value).reason is Reason.MISSING
    assert "X-CALLBACK-ID" in str(judge(value))


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(";".join(reversed(GOOD.header.split(";"))), id="reversed"),
        pytest.param(GOOD.header.replace(";", " ; ").replace("=", " = "), id="blanks"),
        pytest.param(f"\t{GOOD.header};", id="tab and last separator"),
        pytest.param(f"version=2;{GOOD.header};extra", id="parts of other names"),
    ],
)
def test_order_blanks_and_other_parts_do_not_matter(value: str) -> None:
    assert parse(value) == GOOD
    assert judge(value)
    assert sdk_accepts(value)


@pytest.mark.parametrize(
    ("age", "reason"),
    [
        (-301, Reason.FUTURE),
        (-300.5, Reason.FUTURE),
        (-300, Reason.VALID),
        (0, Reason.VALID),
        (300, Reason.VALID),
        (300.5, Reason.STALE),
        (301, Reason.STALE),
    ],
)
def test_timestamp_may_be_300_seconds_off(age: float, reason: Reason) -> None:
    assert TOLERANCE == 300
    assert judge(GOOD.header, now=AT + age).reason is reason
    if age == int(age):
        assert sdk_accepts(GOOD.header, now=AT + int(age)) is (reason is Reason.VALID)


def test_tolerance_can_be_set() -> None:
    assert verify(GOOD.header, username="acme", secret="s3cret", now=AT + 10, tolerance=10)
    assert not verify(GOOD.header, username="acme", secret="s3cret", now=AT + 11, tolerance=10)


def test_verdict_says_how_late() -> None:
    assert str(judge(GOOD.header, now=AT + 400)) == "stale: signed 400 s ago, 300 s are allowed"
    assert str(judge(GOOD.header, now=AT - 400)) == "future: signed 400 s in the future, 300 s are allowed"


def test_a_wrong_signature_is_not_called_stale() -> None:
    assert judge(header(nonce="1"), now=AT + 10_000).reason is Reason.MISMATCH


@pytest.mark.parametrize(
    ("timestamp", "nonce", "reason"),
    [
        pytest.param("168199105", "8123123123123", Reason.STALE, id="digit moved to the nonce"),
        pytest.param("16819910581", "23123123123", Reason.FUTURE, id="digit moved to the timestamp"),
    ],
)
def test_digits_moved_over_the_seam_keep_the_digest_but_not_the_time(
    timestamp: str, nonce: str, reason: Reason
) -> None:
    shifted = header(timestamp=timestamp, nonce=nonce)
    assert digest("s3cret", timestamp, nonce, "acme") == GOOD.signature
    assert judge(shifted).reason is reason
    assert not sdk_accepts(shifted)


def test_text_moved_between_nonce_and_username_is_the_wrong_username() -> None:
    assert judge(header(nonce="123123123123a", username="cme")).reason is Reason.WRONG_USERNAME


def test_names_and_digests_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[set[bytes]] = []
    honest = hmac.compare_digest

    def spy(left: bytes, right: bytes) -> bool:
        compared.append({left, right})
        return honest(left, right)

    monkeypatch.setattr(hmac, "compare_digest", spy)
    wrong = "0" * 64
    assert judge(header(signature=wrong)).reason is Reason.MISMATCH
    assert compared == [{b"acme"}, {GOOD.signature.encode(), wrong.encode()}]


#: Text that has the parts of a header, right or wrong, in any order, with anything between.
_parts = st.sampled_from(["timestamp", "nonce", "username", "signature", "Nonce", ""])
_values = st.sampled_from([str(AT), "123123123123", "acme", GOOD.signature, "", "0", "\ud800", "é"]) | st.text(
    st.characters(), max_size=8
)
_named = st.fixed_dictionaries(dict.fromkeys(("timestamp", "nonce", "username", "signature"), _values))
_whole_headers = _named.map(lambda parts: header(**parts))
_near_headers = st.lists(st.tuples(_parts, _values).map("=".join), max_size=7).map(";".join)


@given(st.text(st.characters(), max_size=80) | _near_headers | _whole_headers)
@PROPERTY
def test_any_text_gives_a_typed_result(value: str) -> None:
    parsed = parse(value)
    assert isinstance(parsed, Signature) or parsed.reason in {Reason.MISSING, Reason.MALFORMED}
    verdict = judge(value)
    assert isinstance(verdict, Verdict)
    assert bool(verdict) is (verdict.reason is Reason.VALID)
    if verdict:
        assert sdk_accepts(value)


@given(st.text(st.characters()), st.text(st.characters()))
@PROPERTY
def test_any_expected_username_and_secret_give_a_verdict(username: str, secret: str) -> None:
    assert isinstance(judge(GOOD.header, username=username, secret=secret), Verdict)


_clean = st.text(st.characters(codec="ascii", exclude_characters=";", categories=["L", "N", "P", "S"]), min_size=1)


@given(st.integers(0, 10**12), _clean, _clean)
@PROPERTY
def test_a_signature_is_read_back_and_valid(timestamp: int, nonce: str, username: str) -> None:
    signature = sign(username, "s3cret", timestamp=timestamp, nonce=nonce)
    assert parse(signature.header) == signature
    assert judge(signature.header, now=timestamp, username=username)
    assert sdk_accepts(signature.header, now=timestamp, username=username)
