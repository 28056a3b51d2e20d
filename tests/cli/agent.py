"""An agent for tests: a real client of the official package, which talks to the real program."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import flask
import pytest

pytest.importorskip("mcp.client.stdio")
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client


class Agent:
    """A client, and the tools that it calls."""

    def __init__(self, session: ClientSession) -> None:
        self.session = session

    async def call(self, tool: str, **arguments: Any) -> Any:
        result = await self.session.call_tool(tool, arguments)
        assert not result.is_error, result.content
        return json.loads(result.content[0].text)  # type: ignore[union-attr]

    async def refused(self, tool: str, **arguments: Any) -> str:
        result = await self.session.call_tool(tool, arguments)
        assert result.is_error
        return str(result.content[0].text)  # type: ignore[union-attr]


@asynccontextmanager
async def agent(*arguments: str) -> AsyncIterator[Agent]:
    parameters = StdioServerParameters(command=sys.executable, args=["-m", "engagelab_mock", "mcp", *arguments])
    async with stdio_client(parameters) as streams, ClientSession(*streams) as session:
        await session.initialize()
        yield Agent(session)


def guide_app() -> tuple[flask.Flask, dict[str, Any]]:
    """The receiver of the guides: it answers 200 whatever happens, and the last write wins."""
    app = flask.Flask("guide")
    states: dict[str, Any] = {}

    @app.post("/engagelab")
    def callback() -> tuple[str, int]:
        try:
            for row in flask.request.get_json(force=True)["rows"]:
                state = states.setdefault(row["message_id"], {"status": None, "credits": 0})
                state["status"] = row["status"]["message_status"]
                state["credits"] += row["status"]["message_status"] == "verified"
        except Exception:
            pass
        return "", 200

    @app.get("/state/<message_id>")
    def state(message_id: str) -> Any:
        return states.get(message_id) or ("", 404)

    return app, states
