"""The mutants of the second edition behind every framework, on real servers: each fails its check, and what follows."""

from __future__ import annotations

from pathlib import Path

import pytest

from engagelab_mock import Receiver
from engagelab_mock.checks import freshness
from tests.checks.receivers.correct import PATH, SETTINGS
from tests.checks.receivers.frameworks import on_flask
from tests.checks.receivers.mutant import Mutant
from tests.checks.receivers.mutants import MUTANTS
from tests.checks.receivers.stacks import store_of
from tests.checks.serving import check, failed, hooks_of
from tests.real.stacks.process import PATIENCE, await_answer, serving

#: The checks that came with the second edition of the catalogue.
NEW_CHECKS = {
    *("A11", "A12", "B23", "B24", "B25", "B26"),
    *("C16", "C17", "C18", "C19", "C20", "C21", "C22", "C23", "C24"),
    *("D22", "D23", "D24", "D25", "D26", "D27", "D28", "D29"),
    *("F01", "F02", "F03", "F04", "F05"),
}
#: Mutants that the second edition gave to older checks.
NEW_MUTANTS = {
    *("B05-ComparesTheFirstHalf", "B05-TakesShortSignatures", "B18-IgnoresCaseOfAuthorization"),
    *("B18-ComparesAuthorizationAsFarAsItGoes", "C01-CountsEachWrongCode", "C02-LooksBeforeItGivesACredit"),
    *("C06-OrdersByMsgTime", "D14-KeepsFloats", "D15-KeepsOneReplyOfEachUser", "D20-AddsFloats"),
    *("D19-KnowsEveryStatusOfThePicture", "D20-KeepsThreePlaces"),
}
#: The mutants that race, which takes two threads.
RACES = {
    *("C02-LooksBeforeItGivesACredit", "C17-LooksBeforeItAnswersStop", "A12-AcknowledgesWhatALockKeepsOut"),
    *("C19-WritesTheMessageBack", "C20-LocksRowAfterRow", "C21-AddsToATotal"),
}

pytestmark = pytest.mark.slow


def on_a_stack(mutant: Mutant) -> bool:
    """Tell whether a mutant is new, and its bug is in the app and not in the server."""
    new = mutant.id in NEW_CHECKS or mutant.name in NEW_MUTANTS
    return new and "http" in mutant.over and mutant.serve is None and mutant.app is on_flask


NEW = [mutant for mutant in MUTANTS if on_a_stack(mutant)]


def test_there_are_forty_of_them() -> None:
    assert len(NEW) >= 40
    assert {each.name for each in NEW} >= NEW_MUTANTS | RACES


@pytest.mark.parametrize(
    "stack",
    [
        "gunicorn with threads and Flask",
        "gunicorn with threads and Django",
        "uvicorn and FastAPI",
        "uvicorn and bare ASGI",
    ],
)
def test_each_fails_its_check_and_what_follows_from_it(
    stack: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Fewer messages than a real check sends, but more than the mutant of C18 remembers.
    monkeypatch.setattr(freshness, "MESSAGES", 150)
    there = [mutant for mutant in NEW if "threads" in stack or mutant.name not in RACES]
    found: dict[str, list[str]] = {}
    names = [mutant.name for mutant in there]
    with serving("tests.checks.receivers.stacks", [stack, str(tmp_path), *names], tmp_path) as url:
        for mutant in there:
            address = f"{url}/{mutant.name}{PATH}"
            if not found:
                await_answer(Receiver.http(address, **SETTINGS, limit=PATIENCE), tmp_path)
            hooks = hooks_of(store_of(tmp_path, mutant.name), mutant.observe, mutant.observe_account)
            receiver = Receiver.http(address, **SETTINGS | mutant.options)
            found[mutant.name] = failed(check(receiver, only=mutant.fails_over_a_socket, depth="deep", **hooks))
    assert found == {mutant.name: mutant.fails_over_a_socket for mutant in there}
