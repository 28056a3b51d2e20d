"""Family B: is what is not genuine refused, and what is genuine accepted?"""

from __future__ import annotations

from engagelab_mock.checks.check import Check, Fix
from engagelab_mock.checks.trial import Trial
from engagelab_mock.checks.verdict import Severity

_VERIFY = Fix(
    "Verify before anything else: take the four parts of the header, compute the digest with your own username and "
    "secret, and compare in constant time.",
    """\
parts = dict(part.strip().partition("=")[::2] for part in $header.split(";"))
signed = parts.get("timestamp", "") + parts.get("nonce", "") + USERNAME
expected = hmac.new(SECRET.encode(), signed.encode("utf-8", "surrogatepass"), "sha256").hexdigest()
if not hmac.compare_digest(expected.encode(), parts.get("signature", "").encode("utf-8", "replace")):
    $refuse_401""",
)


def _wrong_secret(trial: Trial) -> None:
    message = trial.message()
    trial.refused(trial.send(message, "wrong_secret"), message, "a callback signed with another secret")


SIGNATURE = (
    Check(
        id="B02",
        name="sig-wrong-secret",
        title="A callback signed with another secret is refused",
        why="The signature is all that tells EngageLab from anybody else who knows the address. A receiver that does "
        "not verify it lets everybody report any status of any message.",
        stimulus="A callback signed with a secret that is not the receiver's.",
        expected="401 or 403, and no effect.",
        severity=Severity.BLOCKER,
        need="both",
        source="S",
        fix=_VERIFY,
        work=_wrong_secret,
        needs_signature=True,
    ),
)
