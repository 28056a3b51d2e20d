"""Write the generated tables into the pages: `python docs/tables.py`. A test says when it was forgotten.

A table stands between `<!-- table: NAME -->` and `<!-- end of table -->`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import click

from engagelab_mock import CATALOGUE, DIALECTS, ERROR_CODES, INFERRED, START, Outcome, Scenario, Status
from engagelab_mock.cli.exitcode import ExitCode
from engagelab_mock.cli.group import group
from engagelab_mock.config import SETTINGS

DOCS = Path(__file__).parent
_REGION = re.compile(r"(?<=<!-- table: )(?P<name>[\w-]+) -->\n.*?(?=\n<!-- end of table -->)", re.DOTALL)


def render(page: str) -> str:
    """Return a page's text with every table in it made anew."""
    return _REGION.sub(lambda region: f"{region['name']} -->\n\n{TABLES[region['name']]()}\n", page)


def pages() -> list[Path]:
    """Return the pages that hold tables."""
    return [page for page in sorted(DOCS.rglob("*.md")) if _REGION.search(page.read_text(encoding="utf-8"))]


def scenarios() -> str:
    rows = ([f"`{known.name}`", _course(known), _sentence(known.description)] for known in CATALOGUE.values())
    return _table(["scenario", "statuses, with the seconds before each", "what happens"], rows)


def statuses() -> str:
    rows = (
        [f"`{status}`", status.meaning, _yes(status.terminal), ", ".join(f"`{s}`" for s in INFERRED.next_after(status))]
        for status in Status
    )
    start = ["(start)", "nothing has happened yet", "", ", ".join(f"`{s}`" for s in INFERRED.next_after(START))]
    return _table(["status", "meaning", "terminal [K][X]", "may be followed by [?]"], [start, *rows])


def error_codes() -> str:
    rows = (
        [str(entry.code), entry.message, str(entry.http_status), _yes(entry.retryable), f"[{entry.source}]"]
        for entry in ERROR_CODES.values()
    )
    return _table(["code", "message", "HTTP status in the REST API", "retryable for the SDK [K]", "source"], rows)


def dialects() -> str:
    rows = (
        [
            f"`{known.name}`",
            f"`{known.server}`",
            f"`{known.channel}`",
            f"`{known.sent_failed}`",
            f"`{known.ping.decode()}`" if known.ping else "empty",
            known.source,
        ]
        for known in DIALECTS.values()
    )
    return _table(["dialect", "`server`", "`channel`", "`sent_failed` is spelt", "body of the ping", "source"], rows)


def outcomes() -> str:
    comments = _comments(Outcome)
    rows = (
        [
            f"`{outcome}`",
            comments[outcome.name],
            str(int(_exit_code(outcome))) if outcome is not Outcome.PENDING else "",
        ]
        for outcome in Outcome
    )
    return _table(["outcome", "what came of the attempt", "`send` exits"], rows)


def exit_codes() -> str:
    comments = _comments(ExitCode) | {"OK": "All good."}
    return _table(["exit code", "meaning"], ([str(int(code)), comments[code.name]] for code in ExitCode))


def settings() -> str:
    rows = ([f"`{_key(name)}`", known.kind, f"`{known.environment}`"] for name, known in SETTINGS.items())
    return _table(["key in `[tool.engagelab-mock]`", "value", "environment variable"], rows)


def options_of(command: click.Command) -> str:
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    rows = ([f"`{_usage(option)}`", option.help or "", _environment(option)] for option in options)
    return _table(["option", "meaning", "environment variable"], rows)


TABLES: dict[str, Callable[[], str]] = {
    "scenarios": scenarios,
    "statuses": statuses,
    "error-codes": error_codes,
    "dialects": dialects,
    "outcomes": outcomes,
    "exit-codes": exit_codes,
    "settings": settings,
} | {f"options-{name}": partial(options_of, command) for name, command in group.commands.items()}


def _key(name: str) -> str:
    return name.replace("_", "-")


def _usage(option: click.Option) -> str:
    if option.is_flag:
        return option.opts[0]
    choices = option.type.choices if isinstance(option.type, click.Choice) else ()
    return f"{option.opts[0]} {option.metavar or '|'.join(choices) or option.opts[0].removeprefix('--').upper()}"


def _environment(option: click.Option) -> str:
    return f"`{option.envvar}`" if option.envvar else ""


def _course(scenario: Scenario) -> str:
    steps = []
    channel = None
    for step in scenario.transitions:
        delay = f"+{step.after:g} s " if step.after else ""
        by = f" ({step.channel})" if step.channel not in {None, channel} else ""
        channel = step.channel or channel
        steps.append(f"{delay}`{step.status}`{by}")
    return " → ".join(steps) or "none"


def _exit_code(outcome: Outcome) -> ExitCode:
    if outcome is Outcome.ACKNOWLEDGED:
        return ExitCode.OK
    return ExitCode.UNREACHABLE if outcome.unreachable else ExitCode.FELL_SHORT


def _comments(kind: type) -> dict[str, str]:
    """Return the comment above each member of an enumeration, which Python itself throws away."""
    return {name: text for text, name in re.findall(r"#: (.+)\n +([A-Z0-9_]+) =", inspect.getsource(kind))}


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _yes(flag: bool) -> str:
    return "yes" if flag else ""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


if __name__ == "__main__":
    for path in pages():
        path.write_text(render(path.read_text(encoding="utf-8")), encoding="utf-8")
