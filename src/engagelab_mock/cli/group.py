"""The command `engagelab-mock`, of which the others are part."""

from __future__ import annotations

import click

from engagelab_mock import __version__
from engagelab_mock.cli.check import check
from engagelab_mock.cli.demo import demo
from engagelab_mock.cli.listen import listen
from engagelab_mock.cli.record import record
from engagelab_mock.cli.scenarios import scenarios
from engagelab_mock.cli.send import send
from engagelab_mock.cli.serve import serve
from engagelab_mock.cli.sign import sign
from engagelab_mock.cli.verify import verify
from engagelab_mock.config import check_settings, project_settings
from engagelab_mock.errors import UnknownName

_EPILOG = """\b
Exit codes: 0 all good, 1 the receiver fell short, 2 usage, 3 receiver
unreachable, 130 interrupted.

Settings: defaults, then [tool.engagelab-mock] in pyproject.toml, then the
environment, then arguments; the later goes over the earlier.
"""


class _Commands(click.Group):
    """Suggest the nearest command for a misspelt one, with every version of click."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        known = self.list_commands(ctx)
        if args[0] not in known and not ctx.resilient_parsing:
            raise UnknownName("command", args[0], known)
        return super().resolve_command(ctx, args)


@click.group(
    cls=_Commands,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="engagelab-mock", message="%(prog)s %(version)s")
@click.pass_context
def group(context: click.Context) -> None:
    """Play EngageLab OTP on your own machine.

    It sends signed callbacks to the receiver you are building, and says what that made of them.
    """
    settings = project_settings()
    context.default_map = {name: dict(settings) for name in group.commands}
    own = check_settings()
    suppress = own.get("suppress")
    if isinstance(suppress, dict):
        own["suppress"] = [f"{id}={reason}" for id, reason in suppress.items()]
    context.default_map["check"] |= own


for _command in (demo, send, serve, check, listen, record, scenarios, sign, verify):
    group.add_command(_command)
