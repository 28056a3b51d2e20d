"""The tables of the checks: their index, their sections with the fixes, and what no app of a stack can pass."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from cells import comments, sentence, table
from starters import PROGRAMS

from engagelab_mock import CHECKS, Check, Severity
from engagelab_mock.checks.catalogue import STACK_LIMITS
from engagelab_mock.checks.check import FAMILIES


def severities() -> str:
    comment_of = comments(Severity)
    rows = (
        [f"`{each}`", comment_of[each.name], str(sum(check.severity is each for check in CHECKS.values()))]
        for each in Severity
    )
    return table(["severity", "when a check fails", "checks"], rows)


def check_index() -> str:
    sections = []
    for letter, family in FAMILIES.items():
        page = _check_page(letter)
        index = table(
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
    links = [f"[{known.title}](../../howto/{name}.md#{heading.lower()})" for name, known in PROGRAMS.items()]
    return [f"In other languages, see *{heading}* of the receiver in {', '.join(links)}."] if heading else []


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


def stack_limits() -> str:
    rows = [
        [
            f"{stack}",
            f"[{limit.check}](../reference/{_check_page(limit.check[0])})",
            sentence(limit.reason),
            sentence(limit.remedy),
        ]
        for stack, limits in STACK_LIMITS.items()
        for limit in limits
    ]
    none = [[stack, "none", "", ""] for stack, limits in STACK_LIMITS.items() if not limits]
    return table(["stack", "fails", "why", "what helps"], [*rows, *none])


TABLES: dict[str, Callable[[], str]] = {
    "severities": severities,
    "checks": check_index,
    "stack-limits": stack_limits,
    **{f"checks-{letter}": partial(checks, letter) for letter in FAMILIES},
}
