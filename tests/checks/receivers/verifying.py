"""Mutants that verify wrongly."""

from __future__ import annotations

import hmac
import json
import re
import sqlite3
import time
from typing import ClassVar

from tests.checks.receivers.correct import AUTHORIZATION, SECRET, USERNAME, CorrectReceiver, Incoming, Refused
from tests.checks.receivers.mutant import Mutant
from tests.checks.receivers.servers import by_hand, on_wsgiref

Answer = tuple[int, str, dict[str, str]]


class VerifiesWhatIsThere(CorrectReceiver):
    def verify(self, signatures: list[str]) -> str:
        return super().verify(signatures) if signatures else str(time.time())


class ComparesNothing(CorrectReceiver):
    def check_digest(self, parts: dict[str, str]) -> None:
        pass


class TakesThePartsForGranted(CorrectReceiver):
    def parts(self, signature: str) -> dict[str, str]:
        parts = dict(part.strip().split("=", 1) for part in signature.split(";"))
        parts["timestamp"].strip(), parts["nonce"].strip()
        return super().parts(signature)


class ComparesText(CorrectReceiver):
    def check_digest(self, parts: dict[str, str]) -> None:
        digest = self.digest(parts["timestamp"], parts["nonce"], parts["username"])
        if not hmac.compare_digest(digest, parts["signature"]):
            raise Refused(401)


class TakesShortenedSignatures(CorrectReceiver):
    def check_digest(self, parts: dict[str, str]) -> None:
        given = parts["signature"].encode()
        digest = self.digest(parts["timestamp"], parts["nonce"], parts["username"]).encode()
        if len(given) < 16 or not hmac.compare_digest(digest[: len(given)], given):
            raise Refused(401)


class ComparesTheFirstHalf(CorrectReceiver):
    def check_digest(self, parts: dict[str, str]) -> None:
        digest = self.digest(parts["timestamp"], parts["nonce"], parts["username"])
        if len(parts["signature"]) != 64 or not hmac.compare_digest(
            digest[:32].encode(), parts["signature"][:32].encode()
        ):
            raise Refused(401)


class TakesShortSignatures(CorrectReceiver):
    """Accept signatures of 40 digits, too, as an older digest has."""

    def check_digest(self, parts: dict[str, str]) -> None:
        digest = self.digest(parts["timestamp"], parts["nonce"], parts["username"]).encode()
        given = parts["signature"].encode()
        if not any(hmac.compare_digest(digest[:length], given) for length in (40, 64)):
            raise Refused(401)


class KnowsTheDocumentsSpellingAlone(CorrectReceiver):
    def handle(self, incoming: Incoming) -> Answer:
        incoming.signatures = [value for name, value in incoming.raw if name == "X-CALLBACK-ID"]
        return super().handle(incoming)


class KnowsOneOrder(CorrectReceiver):
    def parts(self, signature: str) -> dict[str, str]:
        if not re.fullmatch(r"timestamp=\d+;nonce=\w+;username=\w+;signature=\w+", signature, re.ASCII):
            raise Refused(401)
        return super().parts(signature)


class TakesTheFirstOfSeveral(CorrectReceiver):
    def verify(self, signatures: list[str]) -> str:
        return super().verify([signatures[0].partition(",")[0]] if signatures else [])


class LooksWhetherTheUsernameOccurs(CorrectReceiver):
    def check_username(self, username: str) -> None:
        if USERNAME not in username:
            raise Refused(401)


class BelievesTheHeadersUsername(CorrectReceiver):
    def check_username(self, username: str) -> None:
        pass


class LooksAtTheFutureAlone(CorrectReceiver):
    def is_timely(self, timestamp: str) -> bool:
        return int(timestamp) - self.now() <= 300


class LooksAtThePastAlone(CorrectReceiver):
    def is_timely(self, timestamp: str) -> bool:
        return self.now() - int(timestamp) <= 300


class AllowsTwoMinutes(CorrectReceiver):
    def is_timely(self, timestamp: str) -> bool:
        return abs(self.now() - int(timestamp)) <= 120


class TakesTimestampsForNumbers(CorrectReceiver):
    def parts(self, signature: str) -> dict[str, str]:
        segments = [part.strip().partition("=") for part in signature.split(";")]
        parts = {name: value for name, _, value in segments}
        if len(segments) != 4 or {*parts} != {"timestamp", "nonce", "username", "signature"}:
            raise Refused(401)
        return parts


class NeverLooksWhetherItWasThereBefore(CorrectReceiver):
    def keep(self, db: sqlite3.Connection, message_id: str, status: str, detail: str) -> None:
        db.execute("INSERT INTO effects VALUES (?, ?, ?)", [message_id, status, detail])


class ForgetsNonces(CorrectReceiver):
    def remember(self, db: sqlite3.Connection, nonce: str, body: bytes) -> None:
        pass


class NeverLooksAtAuthorization(CorrectReceiver):
    def authorize(self, given: str) -> None:
        pass


class IgnoresCaseOfAuthorization(CorrectReceiver):
    def authorize(self, given: str) -> None:
        if given.lower() != AUTHORIZATION.lower():
            raise Refused(401)


class ComparesAuthorizationAsFarAsItGoes(CorrectReceiver):
    def authorize(self, given: str) -> None:
        if len(given) < 10 or not AUTHORIZATION.startswith(given):
            raise Refused(401)


class AcceptsAnOldSecretThatIsNotSet(CorrectReceiver):
    """Accept an old secret and the new one, although no old one is set."""

    def check_digest(self, parts: dict[str, str]) -> None:
        signed = f"{parts['timestamp']}{parts['nonce']}{parts['username']}".encode()
        digests = [hmac.new(secret, signed, "sha256").hexdigest() for secret in (SECRET.encode(), b"")]
        if not any(hmac.compare_digest(digest.encode(), parts["signature"].encode()) for digest in digests):
            raise Refused(401)


class VerifiesStatusesOnly(CorrectReceiver):
    """Verify a callback if it has a status, and so not those with a user's reply."""

    unverified: ClassVar[bytes] = b'"response"'

    def handle(self, incoming: Incoming) -> Answer:
        if incoming.body.startswith(b'{"total":1,') and self.unverified in incoming.body:
            self.commit(str(time.time()), incoming.body, self.decode(incoming.body))
            return self.acknowledge()
        return super().handle(incoming)


class StoresNoncesFirst(CorrectReceiver):
    """Store a nonce before its signature is verified."""

    def verify(self, signatures: list[str]) -> str:
        nonce = self.parts(signatures[0])["nonce"] if signatures else ""
        with self.store.transaction() as db:
            db.execute("CREATE TABLE IF NOT EXISTS seen (nonce TEXT PRIMARY KEY)")
            known = db.execute("INSERT OR IGNORE INTO seen VALUES (?)", [nonce]).rowcount == 0
        if known:
            raise Refused(401)
        return super().verify(signatures)


class ParsesFirst(CorrectReceiver):
    def handle(self, incoming: Incoming) -> Answer:
        if incoming.method == "POST" and incoming.body:
            try:
                json.loads(incoming.body)
            except (ValueError, RecursionError):
                raise Refused(400) from None
        return super().handle(incoming)


class ExplainsItself(CorrectReceiver):
    def say(self, refused: Refused, incoming: Incoming) -> str:
        try:
            parts = self.parts(incoming.signatures[0])
        except (Refused, IndexError):
            return "no signature"
        return f"expected {self.digest(parts['timestamp'], parts['nonce'], parts['username'])}"


class ComparesWithEquals(CorrectReceiver):
    def check_digest(self, parts: dict[str, str]) -> None:
        if parts["signature"] != self.digest(parts["timestamp"], parts["nonce"], parts["username"]):
            raise Refused(401)


class TrustsAnAddress(CorrectReceiver):
    def handle(self, incoming: Incoming) -> Answer:
        if incoming.headers.get("x-forwarded-for") == "119.8.170.74":
            self.commit(str(time.time()), incoming.body, self.decode(incoming.body))
            return self.acknowledge()
        return super().handle(incoming)


MUTANTS = [
    # It parses callbacks that it does not verify, also those without the right header name.
    Mutant("B01", VerifiesWhatIsThere, also=("B19", "B24"), also_over_a_socket=("B09",)),
    # It accepts any signature in the right place.
    Mutant("B02", ComparesNothing, also=("B03", "B04", "B05", "B22", "B23", "B24"), also_in_process=("B21",)),
    Mutant("B03", TakesThePartsForGranted),
    Mutant("B04", ComparesText),
    Mutant("B05", TakesShortenedSignatures),
    Mutant("B05", ComparesTheFirstHalf, also_in_process=("B21",)),
    Mutant("B05", TakesShortSignatures),
    Mutant("B06", KnowsTheDocumentsSpellingAlone, over=("http",), serve=by_hand),
    Mutant("B07", KnowsOneOrder),
    Mutant("B08", TakesTheFirstOfSeveral),
    # Its server also reads no chunks, and handles one request at a time.
    Mutant("B09", CorrectReceiver, also=("E01", "E06"), over=("http",), serve=on_wsgiref),
    Mutant("B10", LooksWhetherTheUsernameOccurs),
    # It accepts a digit moved into the username as another username.
    Mutant("B11", BelievesTheHeadersUsername, also=("B10",)),
    Mutant("B12", LooksAtTheFutureAlone),
    Mutant("B13", LooksAtThePastAlone),
    Mutant("B14", AllowsTwoMinutes),
    Mutant("B15", TakesTimestampsForNumbers),
    Mutant(
        "B16",
        NeverLooksWhetherItWasThereBefore,
        also=("C01", "C02", "C03", "C17", "D03", "D28"),
        also_in_process=("C05",),
        also_over_a_socket=("C04",),
    ),
    Mutant("B17", ForgetsNonces),
    Mutant("B18", NeverLooksAtAuthorization),
    Mutant("B19", ParsesFirst),
    Mutant("B20", ExplainsItself),
    Mutant("B21", ComparesWithEquals, over=("wsgi",)),
    Mutant("B18", IgnoresCaseOfAuthorization),
    Mutant("B18", ComparesAuthorizationAsFarAsItGoes),
    Mutant("B22", TrustsAnAddress),
    Mutant("B23", AcceptsAnOldSecretThatIsNotSet),
    Mutant("B24", VerifiesStatusesOnly),
    Mutant("B25", StoresNoncesFirst),
]
