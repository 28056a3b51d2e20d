"""`engagelab-mock mcp`: tools for an agent that writes a receiver, by the Model Context Protocol."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, ParamSpec

import click

from engagelab_mock import __version__
from engagelab_mock.cli.observing import observer
from engagelab_mock.cli.option_values import tls_verify
from engagelab_mock.cli.options import receiver_options, setting
from engagelab_mock.cli.output import ExitCode
from engagelab_mock.clock import VirtualClock, check_delay
from engagelab_mock.config import COMMAND_SETTINGS
from engagelab_mock.delivery.receiver import ACKNOWLEDGEMENT_LIMIT, Receiver
from engagelab_mock.delivery.render import attempt_record
from engagelab_mock.engagelab import EngageLab
from engagelab_mock.errors import EngageLabMockError, ScheduleFailed, UsageError
from engagelab_mock.messages.catalogue import CATALOGUE

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer

    from engagelab_mock.checks.finding import Finding
    from engagelab_mock.explore.options import ExploreOptions

_P = ParamSpec("_P")
#: The most entries of the journal that one call returns, and the time of one call of check or explore, in seconds.
_ENTRIES, _TOTAL = 50, 120.0
#: The most failures of an exploration; only the first of each invariant is reduced.
_FAILURES = 3

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
def mcp(
    url: str | None,
    username: str,
    secret: str,
    authorization: str,
    timeout: float,
    insecure: bool,
    ca: str | None,
    observe: str | None,
) -> int:
    """Give an agent the tools to write, check and explore a receiver."""
    try:
        import mcp.server.mcpserver  # noqa: F401
    except ImportError:
        hint = "python -m pip install 'engagelab-mock[mcp]'"
        raise UsageError("the package mcp is not installed, or older than 2", where="mcp", hint=hint) from None
    from engagelab_mock.server import ApiServer

    made = partial(
        receiver_at, username=username, secret=secret, authorization=authorization, timeout=timeout, observe=observe
    )
    receivers = [made(url, tls_verify=tls_verify(insecure, ca))] if url else []
    with ExitStack() as stack:
        engagelab = stack.enter_context(EngageLab(receivers, clock=VirtualClock(), defaults={"check": False}))
        server = stack.enter_context(ApiServer(engagelab))
        server_of(Tools(engagelab, server.base_url)).run("stdio")
    return ExitCode.OK


def receiver_at(
    url: str,
    *,
    username: str = "",
    secret: str = "",
    authorization: str = "",
    timeout: float = ACKNOWLEDGEMENT_LIMIT,
    observe: str | None = None,
    tls_verify: bool | str = True,
) -> Receiver:
    """Return the receiver at an address, with the probe that reads its state from a URL.

    >>> receiver_at("http://127.0.0.1:5000/engagelab").address
    'http://127.0.0.1:5000/engagelab'
    """
    return Receiver.http(
        url,
        username=username,
        secret=secret,
        authorization=authorization,
        limit=timeout,
        tls_verify=tls_verify,
        observe=observer(observe or None, None),
    )


class Tools:
    """Hold the tools: each is a method whose arguments the agent gives, and returns plain data."""

    def __init__(self, engagelab: EngageLab, base_url: str) -> None:
        self._engagelab = engagelab
        self._base_url = base_url

    def status(self) -> dict[str, Any]:
        """Return the addresses, the clock, and the names of the scenarios."""
        known = self._engagelab.receivers
        return {
            "version": __version__,
            "base_url": self._base_url,
            "receiver": known[0].address if known else None,
            "signed": bool(known and known[0].settings.signs),
            "observed": bool(known and known[0].observe),
            "clock": self._engagelab.clock.time(),
            "scenarios": {scenario.name: list(scenario.statuses) for scenario in CATALOGUE.values()},
        }

    def use_receiver(self, url: str, username: str = "", secret: str = "", observe: str = "") -> dict[str, Any]:
        """Make this the receiver under test."""
        self._engagelab.receiver = receiver_at(url, username=username, secret=secret, observe=observe)
        return self.status()

    def send(self, scenario: str = "verified", to: str = "", fault: str = "") -> dict[str, Any]:
        """Send the callbacks of a scenario."""
        self._check_receiver()
        run = self._engagelab.send(to or None, scenario=scenario, fault=fault or None)
        attempts = [attempt_record(delivery, each) for delivery in run.deliveries for each in delivery.attempts]
        shown = ("statuses", "number", "http_status", "acknowledged", "outcome", "error", "hint")
        return {
            "message_id": run.message.id,
            "to": run.message.to,
            "acknowledged": all(delivery.acknowledged for delivery in run.deliveries),
            "callbacks": [{name: attempt[name] for name in shown} for attempt in attempts],
        }

    def inbox(self, to: str = "") -> dict[str, Any]:
        """Return the messages that a phone or a mailbox has."""
        found = self._engagelab.inbox(to or None)
        names = ("to", "code", "text", "channel", "message_id")
        return {"messages": [{name: getattr(message, name) for name in names} for message in found]}

    def verify(self, message_id: str, code: str) -> dict[str, Any]:
        """Enter a code, as the user does: the app's call of POST /v1/verifications."""
        from engagelab_mock.service.rest.exchange import ApiRequest

        body = json.dumps({"message_id": message_id, "verify_code": code}).encode()
        authorization = f"Basic {base64.b64encode(b'key:secret').decode()}"
        answer = self._engagelab.api.handle(
            ApiRequest("POST", "/v1/verifications", authorization, body, "application/json")
        )
        answer.written()
        self._engagelab._engine.outbox.settle_quietly()
        return {"http_status": answer.status, **json.loads(answer.body)}

    def check(self, only: str = "", depth: str = "normal") -> dict[str, Any]:
        """Run the checks against the receiver."""
        from engagelab_mock.checks.reports import summary_record

        self._check_receiver()
        report = self._engagelab.check(depth=depth, timeout=_TOTAL, only=_parts(only))
        summary = summary_record(report, fail_on="major")
        failed = [finding for finding in report.worst_first if finding.fell_short]
        unclear = [each for each in report.findings if not each.judged and not each.left_out]
        return {
            "ok": summary["ok"],
            "doubt": report.doubt or None,
            "counts": {str(name): number for name, number in report.summary().items()},
            "failures": [_finding(finding) for finding in failed],
            "not_judged": {finding.id: finding.reason for finding in unclear},
        }

    def explore(self, scenarios: str = "verified", duplicates: int = 1, concurrent: bool = False) -> dict[str, Any]:
        """Send the callbacks of scenarios in every order, with duplicates, or at the same time."""
        self._check_receiver(observed=True)
        options: ExploreOptions = {"check": False, "time_budget": _TOTAL}
        options |= {"concurrent": 2} if concurrent else {"duplicates": duplicates}
        exploration = self._engagelab.explore(*_parts(scenarios), **options)
        return {
            "ok": exploration.ok,
            "result": repr(exploration),
            "stopped": exploration.stopped or None,
            "failed": len(exploration.failures),
            "failures": [
                {"token": each.token, "report": str(each.error())} for each in exploration.failures[:_FAILURES]
            ],
        }

    def replay(self, token: str) -> dict[str, Any]:
        """Send the schedule of a token again."""
        self._check_receiver(observed=True)
        try:
            played = self._engagelab.replay(token, check=True)
        except ScheduleFailed as error:
            return {"ok": False, "report": str(error)}
        return {"ok": True, "result": repr(played)}

    def journal(self, message_id: str = "", last: int = 20) -> dict[str, Any]:
        """Return the last callbacks, each with its request and answer."""
        self._engagelab.settle()
        pairs = [(delivery, each) for delivery in self._engagelab.journal.deliveries for each in delivery.attempts]
        found = [attempt_record(*pair) for pair in pairs if message_id in ("", pair[0].message_id)]
        return {"callbacks": found[-max(1, min(last, _ENTRIES)) :]}

    def clock(self, advance: float = 0.0) -> dict[str, Any]:
        """Let virtual time pass, so that retries and expiries happen."""
        self._engagelab.clock.advance(seconds=check_delay(advance, where="advance"))
        return {"clock": self._engagelab.clock.time()}

    def _check_receiver(self, *, observed: bool = False) -> None:
        """Raise `UsageError` without a receiver, and if it must be `observed`, without the URL of its states."""
        if not self._engagelab.receivers:
            hint = "call use_receiver with its address, username and secret"
            raise UsageError("no receiver is named", where="url", hint=hint)
        if observed and self._engagelab.receiver.observe is None:
            # An agent would take "every callback was acknowledged" for "every order is right".
            hint = "give use_receiver the URL of a message's state as `observe`: http://…/state/{message_id}"
            raise UsageError("only acknowledgements could be judged, not states", where="observe", hint=hint)


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _finding(finding: Finding) -> dict[str, Any]:
    from engagelab_mock.checks.reports import finding_record

    names = ("id", "name", "severity", "title", "reason", "expected", "why", "fix", "repro")
    return {name: value for name, value in finding_record(finding).items() if name in names}


#: What each tool is for, as the agent reads it. Not docstrings, which `python -OO` removes.
_ABOUT: Mapping[str, str] = {
    "status": "Tell the base URL of EngageLab's REST API for the app, the receiver under test, and the scenarios.",
    "use_receiver": "Choose the receiver under test: its URL, the username and secret of its callback settings, and"
    " as `observe` the URL of a message's state, such as http://127.0.0.1:5000/state/{message_id}.",
    "send": "Send the signed callbacks of a scenario to the receiver, such as verified, sent_failed or fallback. A"
    " fault such as stale, wrong_secret or ack_lost breaks the first attempt of each. Returns each answer and a hint.",
    "inbox": "Read the messages and codes that a phone number or an e-mail address has got.",
    "verify": "Enter a code for a message, as the user would in the app.",
    "check": "Check the receiver: signatures, retries, orders, duplicates, bad input. Returns the failures, the worst"
    " first, each with its reason and a fix. `only` takes ids such as A01 or B*. Without `observe`, effects are not"
    " judged.",
    "explore": "Send the callbacks in every order, with duplicates, and compare the final state with the one in order;"
    " or with `concurrent`, send callbacks at the same time. Needs `observe`. A failure has a token for replay.",
    "replay": "Send the schedule of a token again, such as eg1:plan,verified,delivered.",
    "journal": "Show the last callbacks, with request, answer, outcome and hint.",
    "clock": "Let that many seconds of virtual time pass: retries and the expiry of codes happen at once.",
}


def server_of(tools: Tools) -> MCPServer[Any]:
    """Return the MCP server of these tools, with the facts, the receivers and the skill as resources."""
    from mcp.server.mcpserver import MCPServer

    from engagelab_mock.cli.mcp_resources import INSTRUCTIONS, resources

    server: MCPServer[Any] = MCPServer(
        "engagelab-mock", version=__version__, instructions=INSTRUCTIONS, log_level="ERROR"
    )
    for name, about in _ABOUT.items():
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
            raise ToolError(str(error)) from None

    return tool
