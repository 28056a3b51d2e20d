"""The explorations of the process, as the server lists them."""

from __future__ import annotations

import pytest

from engagelab_mock import EngageLab, ProbeFailed, Receiver, idempotent
from engagelab_mock.server import ApiServer
from tests.explore.books import Books, LastWriteWins
from tests.server.conftest import Talk


def test_without_an_exploration_the_list_is_empty(talk: Talk) -> None:
    assert talk("GET", "/_mock/explorations").json == {"explorations": []}
    for number in ("1", "0", "x", "1" * 30):
        assert talk("GET", f"/_mock/explorations/{number}").error == (404, 4001)


@pytest.mark.slow
def test_an_exploration_has_its_verdict_its_token_and_its_graph() -> None:
    for books, verdict in ((Books(), "passed"), (LastWriteWins(), "failed")):
        with EngageLab(books.receiver) as engagelab, ApiServer(engagelab) as server:
            talk = Talk(server)
            explored = engagelab.explore("delivered", reset=books.reset, merge=True, check=False)
            [shown] = talk("GET", "/_mock/explorations").json["explorations"]
            assert (shown["number"], shown["verdict"]) == (1, verdict)
            assert (shown["schedules"], shown["states"]) == (explored.schedules, explored.states)
            assert [each["token"] for each in shown["failures"]] == [each.token for each in explored.failures]
            detail = talk("GET", "/_mock/explorations/1").json
            assert (detail["graph"], detail["picture"]) == (explored.graph("mermaid"), explored.graph("svg"))
            if verdict == "failed":
                assert "<-- here" in detail["failures"][0]["table"]


def test_an_exploration_that_runs_has_no_graph() -> None:
    seen = []
    books = Books()
    with EngageLab(books.receiver) as engagelab, ApiServer(engagelab) as server:
        talk = Talk(server)

        def look(played: object) -> None:
            seen.append(talk("GET", "/_mock/explorations/1").json)

        engagelab.explore("delivered", invariants=[look], duplicates=0, reset=books.reset, check=False)
        assert {(each["verdict"], each["graph"]) for each in seen} == {("running", None)}
        after = talk("GET", "/_mock/explorations/1").json
        assert (after["verdict"], after["graph"][:12]) == ("passed", "flowchart TD")


def test_an_exploration_that_ended_early_did_not_pass(talk: Talk, engagelab: EngageLab) -> None:
    engagelab.explore("delivered", time_budget=0, check=False)
    assert talk("GET", "/_mock/explorations").json["explorations"][0]["verdict"] == "stopped"
    assert talk("GET", "/_mock/explorations/1").json["picture"] is None


def test_an_exploration_that_an_error_ended_did_not_pass() -> None:
    books = Books()
    receiver = Receiver.wsgi(books, observe=books.kept.get, reset=books.kept.clear)  # it forgets a table
    with EngageLab(receiver) as engagelab, ApiServer(engagelab) as server:
        with pytest.raises(ProbeFailed, match="reset must empty"):
            engagelab.explore("delivered", invariants=[idempotent()], duplicates=0)
        [exploration] = engagelab._engine.exploring.explorations
        assert not exploration.ok
        assert repr(exploration).endswith("no failure, ended by an error>")
        assert Talk(server)("GET", "/_mock/explorations/1").json["verdict"] == "stopped"
