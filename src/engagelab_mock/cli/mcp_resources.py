"""What an agent can read: the skill, the facts of the protocol, and receivers to copy."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from importlib.resources import files
from typing import NamedTuple

from engagelab_mock.delivery.receiver import ACKNOWLEDGEMENT_LIMIT
from engagelab_mock.delivery.retry import RetryPolicy
from engagelab_mock.messages.scenario import INFERRED
from engagelab_mock.protocol.event_table import EVENTS
from engagelab_mock.protocol.signature import HEADER, TOLERANCE
from engagelab_mock.protocol.status import Status
from engagelab_mock.starters import STARTERS, starter

#: The skill of an agent, also of one that has no MCP server.
_SKILL_FILE = files("engagelab_mock") / "starters" / "SKILL.md"
INSTRUCTIONS = """Tools to write, check and explore an app's receiver of EngageLab OTP callbacks. Read the resource
engagelab://skill first. Start the app, call use_receiver, then send, check and explore, and mend what they report."""


class Resource(NamedTuple):
    """Hold one text for the agent, with its address."""

    uri: str
    name: str
    about: str
    read: Callable[[], str]


@cache
def resources() -> tuple[Resource, ...]:
    """Return every text.

    >>> [each.uri for each in resources()][:2]
    ['engagelab://skill', 'engagelab://protocol']
    """
    found = [
        Resource("engagelab://skill", "skill", "How to write, check and explore a receiver.", skill),
        Resource("engagelab://protocol", "protocol", "The facts of EngageLab's callbacks, with sources.", protocol),
    ]
    for name, known in STARTERS.items():
        about = f"A safe receiver for {known.title}, to copy."
        found.append(Resource(f"engagelab://receivers/{name}", name, about, partial(receiver, name)))
    return tuple(found)


def skill() -> str:
    """Return the text that tells an agent how to work.

    >>> skill().splitlines()[1]
    'name: engagelab-receiver'
    """
    return _SKILL_FILE.read_text("utf-8")


def protocol() -> str:
    """Return the facts of the protocol as Markdown, each with the tag of its source.

    >>> "HMAC-SHA256(secret, timestamp + nonce + username)" in protocol()
    True
    """
    waits = ", ".join(f"{wait:g}" for wait in RetryPolicy.vendor().waits[:4])
    lines = [
        "# EngageLab's callbacks",
        "",
        "Sources: [S] the document, [D] newer pages, [K] the official SDK, [X] the vendor's guides, [?] inferred.",
        "",
        '- A callback is an HTTP POST with a JSON body: `{"total": N, "rows": [...]}` [S].',
        f"- Only HTTP 200 within {ACKNOWLEDGEMENT_LIMIT:g} s acknowledges it [?]; the document says so of the address"
        " validation [S].",
        "- Saving an address sends an empty body, or `{}`, unsigned; it expects 200 [S][D].",
        f"- `{HEADER}: timestamp=…;nonce=…;username=…;signature=…` [S];"
        " signature = HMAC-SHA256(secret, timestamp + nonce + username), lower-case hex [S][D][K].",
        f"- The official SDK accepts a timestamp up to {TOLERANCE} s from now [K]. The body is not signed [S].",
        f"- Retries come after {waits} s and later, 24 in all [X].",
        "",
        "## Statuses of a message",
        "",
        "| status | meaning | terminal [K][X] | may be followed by [?] |",
        "| --- | --- | --- | --- |",
    ]
    for status in Status:
        following = ", ".join(str(each) for each in INFERRED.next_after(status))
        lines.append(f"| {status} | {status.meaning} | {'yes' if status.terminal else ''} | {following} |")
    lines += ["", "## Rows that are not statuses", ""]
    lines += [f"- `{known.name}` in `{known.kind}`" for known in EVENTS.values() if known.kind != "status"]
    return "\n".join(lines) + "\n"


def receiver(name: str) -> str:
    """Return the files of a starter as Markdown.

    >>> receiver("php").splitlines()[0]
    '## receiver.php'
    """
    known = starter(name)
    return "\n".join(f"## {file}\n\n```{file.rpartition('.')[2]}\n{known.text(file)}```\n" for file in known.files)
