"""`engagelab-mock schema`: print a JSON Schema, or the OpenAPI or AsyncAPI document."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import click
import msgspec
from rich.text import Text

from engagelab_mock.cli.options import output_options
from engagelab_mock.cli.output import ExitCode, Output, Screen
from engagelab_mock.errors import UnknownName

#: Every document, with its description.
DOCUMENTS = {
    "callback": "JSON Schema of a callback's body, with its four kinds of row",
    "status": "JSON Schema of a row about a message's status",
    "notification": "JSON Schema of a row about the account, such as a low balance",
    "response": "JSON Schema of a row with a user's reply",
    "system_event": "JSON Schema of a row about an action in the console",
    "openapi": "OpenAPI 3.1 document: the REST API, the control API, and the callbacks as webhooks",
    "asyncapi": "AsyncAPI 3 document of the callbacks",
}

_HELP = """Print a JSON Schema, or the OpenAPI or AsyncAPI document.

NAME is callback (the default), status, notification, response, system_event, openapi or asyncapi.
"""


@click.command(help=_HELP, short_help="Print a JSON Schema, OpenAPI or AsyncAPI document.")
@click.argument("name", default="callback")
@click.option("--list", "listed", is_flag=True, help="List the names with their descriptions instead.")
@output_options
def schema(name: str, listed: bool, format: str) -> int:
    """Print a document, or the list of documents."""
    output = Output(format)
    if listed:
        for each, description in DOCUMENTS.items():
            output.show(Listed(each, description))
    else:
        output.show(Document(document(name)))
    return ExitCode.OK


def document(name: str) -> dict[str, Any]:
    """Return a document by its name, or raise `UnknownName`.

    >>> document("status")["title"]
    'EngageLab OTP status row'
    """
    if name == "openapi":
        from engagelab_mock.server.openapi import openapi

        return openapi()
    if name == "asyncapi":
        from engagelab_mock.server.asyncapi import document

        asyncapi: dict[str, Any] = msgspec.json.decode(document())
        return asyncapi
    if name not in DOCUMENTS:
        raise UnknownName("document", name, DOCUMENTS, where="NAME")
    from engagelab_mock.protocol.callback import callback_schema, row_schema

    return callback_schema() if name == "callback" else row_schema(name)


@dataclass(frozen=True)
class Document:
    """Show a document: as lines, or with --format json as one line. The document is the whole output."""

    content: dict[str, Any]

    def record(self) -> dict[str, Any]:
        """Return the document."""
        return self.content

    def write(self, screen: Screen) -> None:
        """Print the document."""
        click.echo(msgspec.json.format(msgspec.json.encode(self.content)))


@dataclass(frozen=True)
class Listed:
    """Show one name."""

    name: str
    description: str

    def record(self) -> dict[str, Any]:
        """Return the name and the description."""
        return {"type": "document", "name": self.name, "description": self.description}

    def write(self, screen: Screen) -> None:
        """Print the name and the description."""
        screen.note(Text.assemble((f"{self.name:<14}", "bold"), self.description), hang=14)
