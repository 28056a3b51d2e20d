"""In process is as behind a server: the same outcome and the same state, or a difference with a reason in the docs."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tests.real.differential.cases import CASES
from tests.real.differential.sides import IN_PROCESS, SERVERS, Cell, measure, stored
from tests.real.differential.sides import TABLE as TABLE_FILE

TABLE = stored()


def kind_of(side: str) -> str:
    """Return the interface of the apps on a side: WSGI or ASGI."""
    return "WSGI" if side.startswith("WSGI") or side in {"gunicorn gthread", "waitress"} else "ASGI"


@pytest.mark.parametrize("side", [*IN_PROCESS, *SERVERS])
def test_a_side_is_as_the_table_says(side: str, tmp_path: Path) -> None:
    measured = measure(side, tmp_path)
    assert {name: cell for name, cell in measured.items() if cell != TABLE[side][name]} == {}


def test_the_table_is_complete() -> None:
    words = msgspec.json.decode(TABLE_FILE.read_bytes())["cases"]
    assert words == {name: {"does": case.does, "reason": case.reason} for name, case in CASES.items()}
    assert list(TABLE) == [*IN_PROCESS, *SERVERS]
    assert {side: list(cells) for side, cells in TABLE.items()} == {side: list(CASES) for side in TABLE}


def test_the_verbs_do_not_differ() -> None:
    assert TABLE["WSGI, send"] == TABLE["WSGI, asend"]
    assert TABLE["ASGI, send"] == TABLE["ASGI, asend"]


@pytest.mark.parametrize("name", CASES)
def test_a_server_differs_only_with_a_reason(name: str) -> None:
    differing: dict[str, Cell] = {
        server: TABLE[server][name]
        for server in SERVERS
        if TABLE[server][name] != TABLE[f"{kind_of(server)}, send"][name]
    }
    assert bool(differing) == bool(CASES[name].reason)
