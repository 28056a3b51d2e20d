"""A FastAPI app receives every built-in scenario: in process, in the test's loop, and under uvicorn."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from engagelab_mock import EngageLab, Receiver
from tests.patience import PATIENCE
from tests.real.conftest import SCENARIOS
from tests.real.fastapi_receiver import FastAPIReceiver
from tests.real.refusals import assert_refused_as_unsigned
from tests.real.uvicorn_server import UvicornServer


def receiver_for(fastapi: FastAPIReceiver, secret: str = "s3cret") -> Receiver:
    return Receiver.asgi(fastapi.app, "/engagelab", username="acme", secret=secret)


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[FastAPIReceiver, str]]:
    """Serve one app for the module: only our side is under test, and uvicorn takes long to stop."""
    fastapi = FastAPIReceiver()
    with UvicornServer(fastapi.app) as server:
        yield fastapi, f"{server.url}/engagelab"
    assert fastapi.lifespans == ["started", "stopped"]


def test_every_scenario_arrives_in_process(scenario: str, statuses: list[str]) -> None:
    fastapi = FastAPIReceiver()
    with EngageLab(receiver_for(fastapi)) as engagelab:
        run = engagelab.send("+6591234567", scenario=scenario)
    assert run.acknowledged
    assert run.statuses == fastapi.statuses == statuses
    assert fastapi.lifespans == (["started", "stopped"] if statuses else [])


def test_every_scenario_arrives_under_uvicorn(
    served: tuple[FastAPIReceiver, str], scenario: str, statuses: list[str]
) -> None:
    fastapi, url = served
    fastapi.rows.clear()
    with EngageLab(Receiver.http(url, username="acme", secret="s3cret", limit=PATIENCE)) as engagelab:
        run = engagelab.send("+6591234567", scenario=scenario)
    assert run.acknowledged
    assert run.statuses == fastapi.statuses == statuses
    assert {row["message_id"] for row in fastapi.rows} <= {run.message_id}


@pytest.mark.asyncio
async def test_every_scenario_arrives_in_the_tests_own_loop(scenario: str, statuses: list[str]) -> None:
    fastapi = FastAPIReceiver()
    with EngageLab(receiver_for(fastapi)) as engagelab:
        run = await engagelab.asend("+6591234567", scenario=scenario)
    assert run.acknowledged
    assert run.statuses == fastapi.statuses == statuses
    assert fastapi.lifespans == []


def test_another_secret_is_refused_in_process() -> None:
    fastapi = FastAPIReceiver()
    assert_refused_as_unsigned(receiver_for(fastapi, "another"))
    assert fastapi.rows == []


def test_another_secret_is_refused_under_uvicorn(served: tuple[FastAPIReceiver, str]) -> None:
    fastapi, url = served
    fastapi.rows.clear()
    assert_refused_as_unsigned(Receiver.http(url, username="acme", secret="another"))
    assert fastapi.rows == []


def test_a_secret_need_not_be_ascii() -> None:
    fastapi = FastAPIReceiver(secret="sécret ☃")
    with EngageLab(receiver_for(fastapi, "sécret ☃")) as engagelab:
        assert engagelab.send("+6591234567").acknowledged
    assert fastapi.statuses == SCENARIOS["verified"]


def test_its_address_is_valid_in_process_and_under_uvicorn(served: tuple[FastAPIReceiver, str]) -> None:
    for receiver in (receiver_for(FastAPIReceiver()), Receiver.http(served[1], limit=PATIENCE)):
        with EngageLab(receiver) as engagelab:
            assert engagelab.validate_address("empty").acknowledged
            assert engagelab.validate_address("json").acknowledged
