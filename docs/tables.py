"""Write the generated tables into the pages: `python docs/tables.py`. A test says when it was forgotten.

A table stands between `<!-- table: NAME -->` and `<!-- end of table -->`.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click
from msgspec import UNSET

import engagelab_mock
from engagelab_mock import (
    CATALOGUE,
    CHECKS,
    DIALECTS,
    ERROR_CODES,
    FAULTS,
    INFERRED,
    MAGIC,
    START,
    Check,
    Outcome,
    Scenario,
    Severity,
    Status,
)
from engagelab_mock.checks.catalogue import STACK_LIMITS
from engagelab_mock.checks.check import FAMILIES
from engagelab_mock.cli import group
from engagelab_mock.cli.output import ExitCode
from engagelab_mock.config import COMMAND_SETTINGS, SETTINGS, Setting
from engagelab_mock.protocol.event_table import EVENTS, Field, Made
from engagelab_mock.starters import STARTERS, Starter

DOCS = Path(__file__).parent
# The tables of the truth gallery come from the tests.
sys.path.insert(0, str(DOCS.parent))
#: The results of `python -m tests.real.stacks`.
_WIRE_MATRIX = DOCS.parent / "tests" / "real" / "stacks" / "matrix.json"
#: The results of `python -m tests.real.differential`.
_IN_PROCESS = DOCS.parent / "tests" / "real" / "differential" / "table.json"
_REGION = re.compile(r"(?<=<!-- table: )(?P<name>[\w-]+) -->\n.*?(?=\n<!-- end of table -->)", re.DOTALL)


def render(page: str) -> str:
    """Return a page's text with every table in it generated again."""
    return _REGION.sub(lambda region: f"{region['name']} -->\n\n{TABLES[region['name']]()}\n", page)


def pages() -> list[Path]:
    """Return the pages that hold tables."""
    return [page for page in sorted(DOCS.rglob("*.md")) if _REGION.search(page.read_text(encoding="utf-8"))]


def scenarios() -> str:
    rows = ([f"`{known.name}`", _course(known), _sentence(known.description)] for known in CATALOGUE.values())
    return _table(["scenario", "statuses, with the seconds before each", "course"], rows)


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


#: Why the REST API answers with an error code by itself. The other codes are for rules and scenarios.
_REASONS = {
    1000: "an error inside the mock: please report it",
    2001: "no credentials, malformed ones, or others than were set",
    3001: "a body that is not JSON; with `strict_content_type`, another Content-Type",
    3002: "a field that is missing, of another type, or out of its limits",
    3003: "a code that is used or expired; a template without a configuration for a channel of its strategy",
    3004: "the same template and recipient again while the code is valid; `+10000000099`",
    3013: "a template that is not approved",
    4001: "an unknown message; with `strict_templates`, an unknown template",
    5011: "a recipient that is neither a number nor an address; `+10000000001`",
    5012: "in a callback: `+10000000002`",
    5013: "`+10000000011`",
    5018: "in a callback: `+10000000018`",
    5019: "`+10000000012`",
}


def api_errors() -> str:
    rows = (
        [
            str(entry.code),
            str(entry.http_status),
            entry.message,
            _yes(entry.retryable or entry.http_status >= 500),
            _REASONS.get(entry.code, ""),
        ]
        for entry in ERROR_CODES.values()
    )
    return _table(["code", "HTTP", "message", "try again", "reason, unless a rule sets it"], rows)


def sandbox() -> str:
    return _table(["recipient", "behaviour"], ([f"`{to}`", magic.behaviour] for to, magic in MAGIC.items()))


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
    return _table(["outcome", "meaning", "`send` exits"], rows)


def exit_codes() -> str:
    comments = _comments(ExitCode) | {"OK": "All good."}
    return _table(["exit code", "meaning"], ([str(int(code)), comments[code.name]] for code in ExitCode))


def settings(table: str, known: Mapping[str, Setting]) -> str:
    rows = ([f"`{_key(name)}`", each.kind, f"`{each.environment}`"] for name, each in known.items())
    return _table([f"key in `[{table}]`", "value", "environment variable"], rows)


def severities() -> str:
    comments = _comments(Severity)
    rows = (
        [f"`{each}`", comments[each.name], str(sum(check.severity is each for check in CHECKS.values()))]
        for each in Severity
    )
    return _table(["severity", "when a check fails", "checks"], rows)


def check_index() -> str:
    sections = []
    for letter, family in FAMILIES.items():
        page = _check_page(letter)
        index = _table(
            ["check", "correct behaviour", "severity", "judged by"],
            (
                [_link(check, page), f"{check.title}.", f"`{check.severity}`", _JUDGED_BY[check.need]]
                for check in _family(letter)
            ),
        )
        sections.append(f"## {letter}: {family}\n\n{index}")
    return "\n\n".join(sections)


def checks(letter: str) -> str:
    return "\n\n".join(map(_check, _family(letter)))


def _family(letter: str) -> list[Check]:
    return [check for check in CHECKS.values() if check.id.startswith(letter)]


def _check_page(letter: str) -> str:
    return f"checks/{FAMILIES[letter].split()[0].lower()}.md"


def names() -> str:
    """Return a table for each page under `reference/api`: the names that it documents, in its order."""
    index = (DOCS / "reference" / "api.md").read_text(encoding="utf-8")
    sections = []
    for page in re.findall(r"^api/(\w+)$", index, re.MULTILINE):
        text = (DOCS / "reference" / "api" / f"{page}.md").read_text(encoding="utf-8")
        rows = []
        for kind, name, comment in _DOCUMENTED.findall(text):
            summary = comment if kind == "py:data" else inspect.getdoc(getattr(engagelab_mock, name)) or ""
            rows.append([f"[`{name}`](api/{page}.md)", _first_sentence(summary)])
        title = text.partition("\n")[0].removeprefix("# ")
        sections.append(f"## {title}\n\n{_table(['name', 'purpose'], rows)}")
    return "\n\n".join(sections)


_DOCUMENTED = re.compile(
    r"^\.\. (autoclass|autofunction|py:data):: (\w+)(?:\(.*\))?$(?:\n   :type: .*)?(?:\n\n   (.+(?:\n   .+)*))?",
    re.MULTILINE,
)


def _first_sentence(text: str) -> str:
    paragraph = " ".join(text.partition("\n\n")[0].split())
    return re.split(r"(?<=[.:]) (?=[A-Z])", paragraph)[0]


_JUDGED_BY = {"http": "the answer", "probe": "the state", "both": "the answer and the state"}


def _link(check: Check, page: str) -> str:
    return f"[{check.id} {check.name}]({page}#{check.id.lower()}-{check.name.replace('.', '')})"


def _check(check: Check) -> str:
    facts = [
        f"Severity `{check.severity}`",
        f"judged by {_JUDGED_BY[check.need]}",
        f"source [{'], ['.join(check.source.split())}]",
    ]
    if len(check.transports) < 3:
        facts.append(f"only over {' and '.join(check.transports)}: {check.unless}")
    if check.deep:
        facts.append("only at depth `deep`")
    if check.moves_time:
        facts.append("needs `set_time`, or a virtual clock of the test that the app reads")
    if check.needs_signature:
        facts.append("needs a username and a secret")
    if check.meanings:
        facts.append(f"needs {' or '.join(f'`{name}`' for name in check.meanings)}")
    parts = [
        f"## {check.id} {check.name}",
        f"{check.title}.",
        f"{'; '.join(facts)}.",
        check.why,
        f"**Sent:** {check.stimulus}",
        f"**Expected:** {check.expected}",
        f"**Fix:** {check.fix.text}",
    ]
    return "\n\n".join([*parts, *_fix_in_code(check), *_fix_elsewhere(check)])


def _fix_elsewhere(check: Check) -> list[str]:
    """Return the links to the sections of the receivers in other languages that show the fix."""
    heading = check.fix.section
    links = [f"[{known.title}](../../howto/{name}.md#{heading.lower()})" for name, known in _PROGRAMS.items()]
    return [f"In other languages, see *{heading}* of the receiver in {', '.join(links)}."] if heading else []


#: The starters that have a page with their sections.
_PROGRAMS = {name: known for name, known in STARTERS.items() if known.language != "python" and name != "express"}


def receiver(name: str) -> str:
    """Return every section of a program under a heading."""
    known = STARTERS[name]
    parts = []
    for file in known.receivers:
        for heading, code in known.sections(file).items():
            where = f", in `{file}`" if len(known.receivers) > 1 else ""
            title = f"### {heading}" if heading else f"The beginning{where}:"
            parts.append(f"{title}\n\n```{known.language}\n{code}\n```")
    return "\n\n".join(parts)


def file_of(known: Starter, name: str, heading: str | None = None) -> str:
    """Return a file of a starter, or one of its sections, as the code block that starts or continues the file."""
    if heading is None:
        return f"```{known.language}\n# {name}\n{known.text(name).strip()}\n```"
    start = f"# {name}\n" if not heading else ""
    return f"```{known.language}\n{start}{known.sections(name)[heading]}\n```"


def _fix_in_code(check: Check) -> list[str]:
    """Return the code of a fix; if another framework differs by a line or two, only those lines."""
    by_code: dict[str, list[str]] = {}
    for name, code in {"Flask": check.fix.flask, "Django": check.fix.django, "FastAPI": check.fix.fastapi}.items():
        if code:
            by_code.setdefault(code, []).append(name)
    shown: list[str] = []
    for code, names in by_code.items():
        lines, first = code.splitlines(), next(iter(by_code)).splitlines()
        changed = [(old.strip(), new.strip()) for old, new in zip(first, lines, strict=False) if old != new]
        if changed and len(lines) == len(first) and len(changed) <= min(2, len(lines) - 1):
            instead = " and ".join(f"`{new}` instead of `{old}`" for old, new in changed)
            shown.append(f"In {' and '.join(names)}, write {instead}.")
        else:
            shown.append(f"In {' and '.join(names)}:\n\n```{{code-block}} python\n{code}\n```")
    return shown


def options_of(command: click.Command) -> str:
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    rows = ([f"`{_usage(option)}`", option.help or "", _environment(option)] for option in options)
    return _table(["option", "meaning", "environment variable"], rows)


def wire_stacks() -> str:
    rows = (
        [
            stack,
            row["versions"],
            "on the same connection" if row["cells"]["plain"]["then"] == "kept" else "the server closes after each",
            ["never", "once", "twice"][row["continues"]],
        ]
        for stack, row in _wire_matrix().items()
    )
    return _table(["stack", "measured with", "a second callback", "says `100 Continue`"], rows)


def wire_agreed() -> str:
    rows = ([*_sent(stimulus), _reached(cells[0])] for stimulus, cells in _stimuli() if _agree(cells))
    return _table(["fault", "request", "on every stack"], rows)


def wire_differing() -> str:
    differing = [(stimulus, cells) for stimulus, cells in _stimuli() if not _agree(cells)]
    rows = (
        [stack, *(_reached(cells[number], among=cells) for _, cells in differing)]
        for number, stack in enumerate(_wire_matrix())
    )
    return _table(["stack", *(f"`{stimulus}`" for stimulus, _ in differing)], rows)


def wire_unread_chunks() -> str:
    return "\n".join(f"- {name}" for name, row in _wire_matrix().items() if row["cells"]["chunked"]["body"] == "empty")


def in_process_same() -> str:
    table = json.loads(_IN_PROCESS.read_text(encoding="utf-8"))
    rows = (
        [case["does"], ", ".join(f"`{outcome}`" for outcome in table["sides"]["WSGI, send"][name]["outcomes"])]
        for name, case in table["cases"].items()
        if not case["reason"]
    )
    return _table(["the app …", "the outcome on every side"], rows)


def in_process_differing() -> str:
    table = json.loads(_IN_PROCESS.read_text(encoding="utf-8"))
    sides = {"WSGI, send": "WSGI in process", "gunicorn gthread": "", "waitress": ""}
    sides |= {"ASGI, send": "ASGI in process", "uvicorn": "", "hypercorn": ""}

    def cell(side: str, name: str) -> str:
        made = table["sides"][side][name]
        return "; ".join([*(f"`{outcome}`" for outcome in made["outcomes"]), *made["state"]])

    rows = (
        [case["does"], *(cell(side, name) for side in sides), case["reason"]]
        for name, case in table["cases"].items()
        if case["reason"]
    )
    return _table(["the app …", *(title or side for side, title in sides.items()), "why"], rows)


def events() -> str:
    rows = ([f"`{known.name}`", f"`{known.kind}`", known.meaning, f"`{known.call}`"] for known in EVENTS.values())
    return _table(["event", "kind", "meaning", "the line that sends it"], rows)


def status_fields() -> str:
    return _table(["field", "stands in", "type", "comes from", "source"], map(_event_field, EVENTS["plan"].fields))


def account_fields() -> str:
    sections = []
    for known in EVENTS.values():
        if known.kind != "status":
            table = _table(["argument", "stands in", "type", "default", "source"], map(_event_field, known.fields))
            sections.append(f"### `{known.name}`\n\n{table}")
    return "\n\n".join(sections)


def _event_field(field: Field) -> Sequence[str]:
    key = f" as `{field.key}`" if field.key else ""
    kind = " ".join(f"`{choice}`" for choice in field.choices) or field.type
    return [
        f"`{field.name}`",
        (f"`{field.section}`" if field.section else "the row") + key,
        kind,
        _default(field),
        f"[{field.source}]",
    ]


def _default(field: Field) -> str:
    if isinstance(field.default, Made):
        return field.default.value
    return "absent" if field.default is UNSET else f"`{json.dumps(field.default)}`"


def faults(family: str) -> str:
    rows = (
        [
            f"`{known.name}`",
            _sentence(known.description),
            ", ".join(f"`{name}={value!r}`" for name, value in known.options.items()),
            "any" if len(known.transports) == 3 else ", ".join(sorted(known.transports)),
        ]
        for known in FAULTS.values()
        if known.family == family
    )
    return _table(["fault", "change", "options, with their defaults", "transport"], rows)


def stack_limits() -> str:
    rows = [
        [
            f"{stack}",
            f"[{limit.check}](../reference/{_check_page(limit.check[0])})",
            _sentence(limit.reason),
            _sentence(limit.remedy),
        ]
        for stack, limits in STACK_LIMITS.items()
        for limit in limits
    ]
    none = [[stack, "none", "", ""] for stack, limits in STACK_LIMITS.items() if not limits]
    return _table(["stack", "fails", "why", "what helps"], [*rows, *none])


def truth_blind() -> str:
    from tests.truth.blind import CASES

    rows = ([case.judge, case.what, f"`{case.error.__name__}`: {case.says}"] for case in CASES)
    return _table(["judge", "situation", "the error says"], rows)


def truth_right() -> str:
    from tests.truth.receivers.pairs import PAIRS

    rows = ([name, pair.right.__doc__ or "", pair.wrong.__doc__ or ""] for name, pair in PAIRS.items())
    return _table(["built on", "the right receiver, which nothing reports", "its mutant, which is found"], rows)


TABLES: dict[str, Callable[[], str]] = {
    "names": names,
    "events": events,
    "stack-limits": stack_limits,
    "status-fields": status_fields,
    "account-fields": account_fields,
    "scenarios": scenarios,
    "statuses": statuses,
    "api-errors": api_errors,
    "sandbox": sandbox,
    "error-codes": error_codes,
    "dialects": dialects,
    "outcomes": outcomes,
    "faults-signature": partial(faults, "signature"),
    "faults-body": partial(faults, "body"),
    "faults-wire": partial(faults, "wire"),
    "faults-exchange": partial(faults, "exchange"),
    "exit-codes": exit_codes,
    "settings": partial(settings, "tool.engagelab-mock", SETTINGS),
    "check-settings": partial(settings, "tool.engagelab-mock.check", COMMAND_SETTINGS["check"]),
    "explore-settings": partial(settings, "tool.engagelab-mock.explore", COMMAND_SETTINGS["explore"]),
    "severities": severities,
    "checks": check_index,
    "in-process-same": in_process_same,
    "in-process-differing": in_process_differing,
    "wire-stacks": wire_stacks,
    "wire-agreed": wire_agreed,
    "wire-differing": wire_differing,
    "wire-unread-chunks": wire_unread_chunks,
    "truth-blind": truth_blind,
    "truth-right": truth_right,
}
TABLES |= {f"receiver-{name}": partial(receiver, name) for name in _PROGRAMS}
for _name, _known in STARTERS.items():
    for _file in filter(lambda name: name.endswith((".py", ".mjs")), _known.files):
        _stem = f"file-{_name}-{Path(_file).stem.replace('_', '-')}"
        TABLES[_stem] = partial(file_of, _known, _file)
        TABLES |= {
            f"{_stem}-{heading.lower() or 'head'}": partial(file_of, _known, _file, heading)
            for heading in _known.sections(_file)
        }
TABLES |= {f"checks-{letter}": partial(checks, letter) for letter in FAMILIES}
for _name, _command in group.commands.items():
    _subcommands = _command.commands if isinstance(_command, click.Group) else {}
    TABLES |= {f"options-{_name}-{name}": partial(options_of, command) for name, command in _subcommands.items()}
    TABLES |= {} if _subcommands else {f"options-{_name}": partial(options_of, _command)}


def _wire_matrix() -> dict[str, dict[str, Any]]:
    matrix: dict[str, dict[str, Any]] = json.loads(_WIRE_MATRIX.read_text(encoding="utf-8"))
    return matrix


def _stimuli() -> list[tuple[str, list[dict[str, Any]]]]:
    """Return each stimulus with its cells, one for every stack."""
    rows = list(_wire_matrix().values())
    return [(stimulus, [row["cells"][stimulus] for row in rows]) for stimulus in rows[0]["cells"]]


def _sent(stimulus: str) -> tuple[str, str]:
    return (f"`{stimulus}`", FAULTS[stimulus].description) if stimulus in FAULTS else ("none", "a callback as usual")


def _agree(cells: list[dict[str, Any]]) -> bool:
    """Tell whether the same reached the app on every stack; connections are another matter."""
    return all({**cell, "then": ""} == {**cells[0], "then": ""} for cell in cells)


def _reached(cell: dict[str, Any], *, among: Sequence[dict[str, Any]] = ()) -> str:
    """Say what reached the app. With `among`, leave out the values that are the same in all those cells."""
    if not cell["calls"]:
        return "the app is not called"
    words = {
        "status": f"answered {cell['status']}" if cell["status"] else cell["outcome"],
        "body": _BODIES.get(cell["body"], f"reading it raises `{cell['body']}`"),
        "header": _HEADERS.get(cell["header"], f"header `{cell['header']}`"),
    }
    others = [other for other in among if other["calls"]]
    return ", ".join(text for key, text in words.items() if not others or any(o[key] != cell[key] for o in others))


_BODIES = {
    "whole": "the whole body",
    "empty": "**no body**",
    "compressed": "the compressed body",
    "part": "**half a body**",
}
_HEADERS = {"sent": "the header as sent", "": "no header"}


def _key(name: str) -> str:
    return name.replace("_", "-")


def _usage(option: click.Option) -> str:
    if option.is_flag:
        return " / ".join([*option.opts[:1], *option.secondary_opts])
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
