"""The MCP server as an agent uses it: a real client of the official package, a real program, real receivers."""

from __future__ import annotations

import re
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

import flask
import pytest

from engagelab_mock.cli.mcp_resources import resources
from engagelab_mock.server.loopback import LoopbackServer
from tests.cli.agent import agent, guide_app
from tests.cli.conftest import Command
from tests.runtimes import PATIENCE

pytestmark = pytest.mark.slow

TOOLS = ["check", "clock", "explore", "inbox", "journal", "replay", "send", "status", "use_receiver", "verify"]


@pytest.mark.asyncio
async def test_an_agent_sees_the_tools_and_reads_the_resources() -> None:
    async with agent() as client:
        tools = (await client.session.list_tools()).tools
        assert sorted(tool.name for tool in tools) == TOOLS
        assert all(tool.description for tool in tools)
        listed = (await client.session.list_resources()).resources
        assert [str(each.uri) for each in listed] == [each.uri for each in resources()]
        for each in listed:
            read = await client.session.read_resource(each.uri)
            assert len(read.contents[0].text) > 500  # type: ignore[union-attr]


@pytest.mark.asyncio
async def test_a_login_by_the_tools() -> None:
    app, states = guide_app()
    with LoopbackServer(app) as server:
        async with agent("--url", f"{server.url}/engagelab", "--username", "acme", "--secret", "s3cret") as client:
            status = await client.call("status")
            assert status["receiver"] == f"{server.url}/engagelab"
            assert status["base_url"].startswith("http://127.0.0.1:")
            sent = await client.call("send", scenario="delivered", to="+6591234567")
            assert [each["statuses"] for each in sent["callbacks"]] == [["plan"], ["sent"], ["delivered"]]
            [message] = (await client.call("inbox", to="+6591234567"))["messages"]
            wrong = await client.call("verify", message_id=message["message_id"], code="000000")
            assert wrong["verified"] is False
            right = await client.call("verify", message_id=message["message_id"], code=message["code"])
            assert right["verified"] is True
            assert states[message["message_id"]]["status"] == "verified"
            journal = await client.call("journal", last=1)
            assert journal["callbacks"][0]["statuses"] == ["verified"]
            before = (await client.call("clock"))["clock"]
            assert (await client.call("clock", advance=60))["clock"] == before + 60


@pytest.mark.asyncio
async def test_errors_tell_the_agent_what_to_do() -> None:
    async with agent() as client:
        assert "use_receiver" in await client.refused("send")
        await client.call("use_receiver", url="http://127.0.0.1:1/engagelab")
        assert "did you mean 'verified'" in await client.refused("send", scenario="verfied")
        assert "http" in await client.refused("use_receiver", url="nowhere")
        for tool, arguments in (("explore", {}), ("replay", {"token": "eg1:verified,delivered"})):
            assert "give use_receiver the URL of a message's state" in await client.refused(tool, **arguments)
        # An unreachable receiver is an answer, not an error.
        sent = await client.call("send")
        assert sent["acknowledged"] is False
        assert "refused" in sent["callbacks"][0]["outcome"]


def test_the_skill_can_be_printed_without_the_package(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mcp.server.mcpserver", None)
    result = command("mcp", "--skill")
    assert (result.code, result.err) == (0, "")
    # The form that agents load by themselves: a head with a name, and then the text.
    head, text = result.out.removeprefix("---\n").split("\n---\n")
    assert "name: engagelab-receiver" in head.splitlines()
    assert "always return 200" in text


def test_without_the_package_the_command_says_how_to_get_it(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mcp.server.mcpserver", None)
    result = command("mcp")
    assert result.code == 2
    assert "pip install 'engagelab-mock[mcp]'" in result.err


@pytest.mark.asyncio
async def test_an_agent_takes_the_guide_s_receiver_from_findings_to_a_clean_check_and_explore(
    tmp_path: Path,
) -> None:
    """The scripted agent checks the guide's receiver, reads the safe one, and checks and explores again."""
    async with agent() as client:
        app, _ = guide_app()
        signed = {"username": "acme", "secret": "s3cret"}
        with LoopbackServer(app) as server:
            observe = f"{server.url}/state/{{message_id}}"
            await client.call("use_receiver", url=f"{server.url}/engagelab", observe=observe, **signed)
            found = await client.call("check")
            assert not found["ok"]
            failed = {failure["id"]: failure for failure in found["failures"]}
            # No signature is verified, what cannot be read is acknowledged, and the last write wins.
            assert {"B01", "C01"} <= set(failed)
            assert all(failure["fix"]["text"] for failure in failed.values())
            explored = await client.call("explore", scenarios="verified", duplicates=0)
            assert not explored["ok"]
            token = explored["failures"][0]["token"]
            assert "character" in await client.refused("replay", token="eg1:plan,delivred")
            assert (await client.call("replay", token=token))["ok"] is False

        skill = await client.session.read_resource("engagelab://skill")
        assert "always return 200" in skill.contents[0].text  # type: ignore[union-attr]
        safe = await client.session.read_resource("engagelab://receivers/flask")
        app = app_of(safe.contents[0].text, str(tmp_path / "callbacks.sqlite"))  # type: ignore[union-attr]
        with LoopbackServer(app) as server:
            observe = f"{server.url}/state/{{message_id}}"
            await client.call("use_receiver", url=f"{server.url}/engagelab", observe=observe, **signed)
            # The machine may do much else: it passes if all was judged, no matter how long that took.
            long = {"seconds": PATIENCE}
            clean = await client.call("check", **long)
            assert (clean["ok"], clean["failures"]) == (True, [])
            assert (await client.call("explore", scenarios="verified,fallback", duplicates=1, **long))["ok"]
            assert (await client.call("explore", concurrent=True, **long))["ok"]
            assert (await client.call("replay", token=token))["ok"]


def app_of(text: str, database: str) -> flask.Flask:
    """Return the app in the resource's file, with the URL that shows a state, as the skill says."""
    [code] = re.findall(r"## receiver\.py\n\n```py\n(.*?)```\n", text, re.DOTALL)
    module = ModuleType("receiver")
    exec(compile(code, "receiver.py", "exec"), module.__dict__)
    app: flask.Flask = module.create_app(database, "acme", "s3cret")

    @app.get("/state/<message_id>")
    def state(message_id: str) -> Any:
        with closing(sqlite3.connect(database)) as db:
            row = db.execute("SELECT status, credits FROM messages WHERE id = ?", [message_id]).fetchone()
        return {"status": row[0], "credits": row[1]} if row else ("", 404)

    return app
