"""`engagelab-mock mcp`: tools for an agent that writes a receiver, by the Model Context Protocol."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, ParamSpec

import click

from engagelab_mock import __version__
from engagelab_mock.cli.calling import Caller
from engagelab_mock.cli.option_values import tls_verify
from engagelab_mock.cli.options import from_zero, receiver_options, setting
from engagelab_mock.cli.output import ExitCode
from engagelab_mock.clock import VirtualClock
from engagelab_mock.config import COMMAND_SETTINGS
from engagelab_mock.engagelab import EngageLab
from engagelab_mock.errors import EngageLabMockError, UsageError

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer

    from engagelab_mock.cli.mcp_tools import Tools

_P = ParamSpec("_P")
_EXPLORE = COMMAND_SETTINGS["explore"]

_HELP = """Give an agent the tools to write, check and explore a receiver.

It speaks the Model Context Protocol on stdin and stdout: put this command into the settings of the agent. It also
serves EngageLab's REST API at a free port of this machine, and tells the agent its address. Install it with
`python -m pip install 'engagelab-mock[mcp]'`.
"""


@click.command(help=_HELP, short_help="Give an agent the tools to write a receiver.")
@receiver_options
@setting(
    "observe", settings=COMMAND_SETTINGS["check"], metavar="URL", help="Read the state of a message from this URL."
)
@setting("prepare", settings=_EXPLORE, metavar="URL", help="Post each message to this URL before its first callback.")
@setting("reset", settings=_EXPLORE, metavar="URL", help="Post to this URL to empty the app's tables.")
@setting(
    "wait_idle",
    settings=_EXPLORE,
    type=float,
    callback=from_zero,
    default=0.0,
    metavar="SECONDS",
    help="After each callback, wait until the state was the same for so long.",
)
@click.option("--skill", is_flag=True, help="Print the skill, a text for agents in the form of SKILL.md, and end.")
def mcp(
    url: str | None,
    username: str,
    secret: str,
    authorization: str,
    timeout: float,
    insecure: bool,
    ca: str | None,
    observe: str | None,
    prepare: str | None,
    reset: str | None,
    wait_idle: float,
    skill: bool,
) -> int:
    """Give an agent the tools to write, check and explore a receiver."""
    if skill:
        from engagelab_mock.cli.mcp_resources import skill as skill_text

        click.echo(skill_text(), nl=False)
        return ExitCode.OK
    try:
        import mcp.server.mcpserver  # noqa: F401
    except ImportError:
        hint = "python -m pip install 'engagelab-mock[mcp]'"
        raise UsageError("the package mcp is not installed, or older than 2", where="mcp", hint=hint) from None
    from engagelab_mock.cli.mcp_tools import Tools, receiver_at
    from engagelab_mock.server import ApiServer

    with ExitStack() as stack:
        callers = [stack.enter_context(closing(Caller(name))) for name in ("observe", "prepare", "reset")]
        made = partial(
            receiver_at,
            callers,
            username=username,
            secret=secret,
            authorization=authorization,
            limit=timeout,
            observe=observe,
            prepare=prepare,
            reset=reset,
            wait_idle=wait_idle,
        )
        receivers = [made(url, tls_verify=tls_verify(insecure, ca))] if url else []
        engagelab = stack.enter_context(EngageLab(receivers, clock=VirtualClock(), defaults={"check": False}))
        server = stack.enter_context(ApiServer(engagelab))
        server_of(Tools(engagelab, server.base_url, partial(receiver_at, callers))).run("stdio")
    return ExitCode.OK


def server_of(tools: Tools) -> MCPServer[Any]:
    """Return the MCP server of these tools, with the facts, the receivers and the skill as resources."""
    from mcp.server.mcpserver import MCPServer

    from engagelab_mock.cli.mcp_resources import INSTRUCTIONS, resources
    from engagelab_mock.cli.mcp_tools import ABOUT

    server: MCPServer[Any] = MCPServer(
        "engagelab-mock", version=__version__, instructions=INSTRUCTIONS, log_level="ERROR"
    )
    for name, about in ABOUT.items():
        server.tool(name, description=about)(_telling(getattr(tools, name)))
    for resource in resources():
        server.resource(resource.uri, name=resource.name, description=resource.about, mime_type="text/markdown")(
            resource.read
        )
    return server


def _telling(work: Callable[_P, dict[str, Any]]) -> Callable[_P, dict[str, Any]]:
    """Return a tool whose errors tell the agent what to do next."""

    @wraps(work)
    def tool(*given: _P.args, **named: _P.kwargs) -> dict[str, Any]:
        from mcp.server.mcpserver.exceptions import ToolError

        try:
            return work(*given, **named)
        except EngageLabMockError as error:
            raise ToolError(_for_agents(error)) from None

    return tool


_OPTIONS = re.compile(r"--(observe|prepare|reset|wait-idle)\b")


def _for_agents(error: EngageLabMockError) -> str:
    """Return the problem and the hint with the names of the tools' arguments."""
    from engagelab_mock.cli.explore_report import in_options

    error = in_options(error)
    text = error.problem + (f"\n  hint: {error.hint}" if error.hint else "")
    text, number = _OPTIONS.subn(lambda option: option[1].replace("-", "_"), text)
    return text + "\n  observe, prepare, reset and wait_idle are arguments of use_receiver" * bool(number)
