"""`engagelab-mock check`: is this receiver ready for production?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from engagelab_mock.checks.bounds import PATIENCE, TOTAL
from engagelab_mock.checks.verdict import Severity
from engagelab_mock.cli.options import Decorated, output_options, receiver_options
from engagelab_mock.config import CHECK_SETTINGS


def check_setting(name: str, **attributes: Any) -> Callable[[Decorated], Decorated]:
    """Make the option of one of the command's own settings."""
    flag = f"--{name.replace('_', '-')}"
    return click.option(flag, name, envvar=CHECK_SETTINGS[name].environment, show_envvar=True, **attributes)


_SEVERITIES = click.Choice([str(each) for each in Severity])


@click.command()
@click.argument("address", metavar="[URL]", required=False)
@receiver_options
@check_setting(
    "observe", metavar="URL", help="Where the state of a message is seen, such as http://…/state/{message_id}."
)
@check_setting("observe_command", metavar="COMMAND", help="What prints the state of a message; it has {message_id}.")
@check_setting(
    "patience",
    type=float,
    default=PATIENCE,
    show_default=True,
    metavar="SECONDS",
    help="How long an effect may follow its acknowledgement.",
)
@check_setting("only", multiple=True, metavar="IDS", help="Run these alone: ids or names, with * and commas.")
@check_setting("skip", multiple=True, metavar="IDS", help="Leave these out.")
@check_setting(
    "severity", type=_SEVERITIES, default="info", show_default=True, help="Run what is at least that severe."
)
@check_setting(
    "suppress", multiple=True, metavar="ID=REASON", help="Let a check's failure not count, for a reason; repeatable."
)
@check_setting(
    "fail_on", type=_SEVERITIES, default="major", show_default=True, help="Exit 1 on failures at least that severe."
)
@check_setting("wait", type=float, default=0.0, metavar="SECONDS", help="Wait so long for the receiver to come up.")
@check_setting(
    "total",
    type=float,
    default=TOTAL,
    show_default=True,
    metavar="SECONDS",
    help="How long the whole run may take; what does not fit in is inconclusive.",
)
@click.option(
    "--report",
    multiple=True,
    metavar="KIND=FILE",
    help="Write a report as well: junit=…, html=… or sarif=…; repeatable.",
)
@click.option("--verbose", "-v", is_flag=True, help="Show every request of a failure, and the fix as code.")
@output_options
def check(**given: Any) -> int:
    """Put a receiver through the checks, and say what it falls short of.

    URL is the callback address, such as http://127.0.0.1:5000/engagelab. Test data is sent to it: made-up messages to
    made-up recipients, which the last line counts. Without --observe or --observe-command, what is about effects is
    inconclusive.

    Exits 0 when no failure is as severe as --fail-on, 1 when one is, 3 when the receiver could not be reached.
    """
    from engagelab_mock.cli.checking import CheckOptions, run  # the other commands need none of it

    return run(CheckOptions(**given))
