"""The documentation is true: its commands are ones that exist, its tables are current, and every name has its place."""

from __future__ import annotations

import ast
import contextlib
import json
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator
from inspect import iscoroutinefunction
from pathlib import Path

import click
import pytest

import engagelab_mock
from engagelab_mock import (
    CATALOGUE,
    CHECKS,
    DIALECTS,
    ERROR_CODES,
    EngageLab,
    Exploration,
    Outcome,
    Reason,
    Receiver,
    Recorder,
    Status,
    UnknownName,
)
from engagelab_mock.checks.check import FAMILIES
from engagelab_mock.cli import group, main
from engagelab_mock.cli.explore_report import ExploreProgress
from engagelab_mock.cli.output import ExitCode
from engagelab_mock.cli.send import SendOptions, source_of
from engagelab_mock.config import COMMAND_SETTINGS, SETTINGS
from engagelab_mock.pytest_support import MARKER_ARGUMENTS
from engagelab_mock.server.loopback import LoopbackServer
from tests.docs.pages import folder
from tests.docs.reference import check_fields, missing, reference, section

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
README = (ROOT / "README.md").read_text(encoding="utf-8")
TUTORIAL = (DOCS / "tutorial.md").read_text(encoding="utf-8")
#: Every page a reader gets, as (name, text).
PAGES = [
    (str(page.relative_to(ROOT)), page.read_text(encoding="utf-8"))
    for page in [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md"))]
]


def blocks(text: str, *languages: str) -> list[str]:
    """Return the fenced blocks of these languages."""
    return re.findall(rf"^```(?:{'|'.join(languages)})\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def test_links_out_of_the_top_level_pages_lead_somewhere() -> None:
    # Sphinx looks after those between its own pages.
    for name, text in PAGES:
        if "/" not in name:
            for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
                assert (ROOT / target).exists(), f"{name}: {target}"


# --- Commands


def commands() -> Iterator[tuple[str, list[str]]]:
    """Yield every command line in a shell block, as (page, words)."""
    for page, text in PAGES:
        for line in "".join(blocks(text, "sh", "console")).splitlines():
            for command in line.removeprefix("$ ").split(" && "):
                words = shlex.split(command, comments=True)
                if words:
                    yield page, words


MOCK_COMMANDS = {shlex.join(words): words[1:] for _, words in commands() if words[0] == "engagelab-mock"}


def check_command(words: list[str]) -> None:
    """Raise if the command line would not be taken."""
    redirected = next((place for place, word in enumerate(words) if word in {">", "&"}), None)
    name, *arguments = words[:redirected]
    # The page whose files are options of commands.
    with folder("docs/howto/serve") as directory, contextlib.chdir(directory):
        command = group.commands[name]
        if isinstance(command, click.Group):
            name, *arguments = arguments
            command = command.commands[name]
        context = command.make_context(name, arguments)
        if name == "send" and not (context.params["replay"] or "").endswith(".jsonl"):
            with context:
                source_of(SendOptions.of(context.params))


@pytest.mark.parametrize("words", MOCK_COMMANDS.values(), ids=MOCK_COMMANDS)
def test_a_documented_command_line_is_one_that_the_command_takes(words: list[str]) -> None:
    check_command(words)


@pytest.mark.parametrize(
    "line",
    [
        "sned verified",
        "send verfied --url http://127.0.0.1/",
        "send verified --ulr http://127.0.0.1/",
        "listen --port x",
    ],
)
def test_a_command_line_that_the_command_does_not_take_is_noticed(line: str) -> None:
    with pytest.raises((KeyError, click.UsageError, UnknownName)):
        check_command(line.split())


def test_documented_pytest_options_exist(pytestconfig: pytest.Config) -> None:
    used = {word.partition("=")[0] for _, words in commands() for word in words if word.startswith("--engagelab")}
    assert used
    for option in used:
        pytestconfig.getoption(option)


# --- Every name has its place

DOCUMENTED = re.compile(r"^\.\. (autoclass|autofunction|automethod|autoproperty|py:data):: ([\w.]+)", re.MULTILINE)
API_PAGES = [
    page.read_text(encoding="utf-8") for page in [REFERENCE / "api.md", *sorted((REFERENCE / "api").glob("*.md"))]
]


def documented(*kinds: str) -> list[str]:
    """Return the names that the pages about Python names document."""
    return [name for page in API_PAGES for kind, name in DOCUMENTED.findall(page) if kind in kinds]


def test_every_public_name_is_in_the_reference_once() -> None:
    names = [name for name in documented("autoclass", "autofunction", "py:data") if "." not in name]
    assert sorted(names) == sorted(dir(engagelab_mock))


def test_every_verb_of_engagelab_is_in_the_reference_once_and_its_async_twin_with_it() -> None:
    verbs = [name for name in vars(EngageLab) if not name.startswith("_")]
    twins = [name for name in verbs if name[1:] in verbs and iscoroutinefunction(getattr(EngageLab, name))]
    assert "asend" in twins
    names = [name.removeprefix("EngageLab.") for name in documented("automethod", "autoproperty")]
    assert names[0] == "send"
    assert sorted(names) == sorted(set(verbs) - set(twins))


def test_every_fixture_is_in_the_reference() -> None:
    plugin = ast.parse((Path(engagelab_mock.__file__).parent / "pytest_plugin.py").read_text(encoding="utf-8"))
    fixtures = [
        node.name
        for node in ast.walk(plugin)
        if isinstance(node, ast.FunctionDef)
        and "fixture" in {ast.unparse(d).split(".")[-1] for d in node.decorator_list}
    ]
    assert "engagelab" in fixtures
    assert missing(fixtures, section(reference("fixtures"), "Fixtures")) == []


def test_every_option_and_ini_key_is_in_the_reference(pytestconfig: pytest.Config) -> None:
    names = [name for name in vars(pytestconfig.option) if name.startswith("engagelab_")]
    assert names
    text = section(reference("fixtures"), "Options and ini keys")
    assert missing([f"--{name.replace('_', '-')}" for name in names], text) == []
    # The schedule to replay and the files to write belong to one run. They are not settings of a project.
    of_run = {"engagelab_replay", "engagelab_report", "engagelab_html"}
    assert missing([name for name in names if name not in of_run], text) == []
    for key in re.findall(r"`(engagelab_\w+)`", text):
        pytestconfig.getini(key)


def test_every_marker_argument_is_in_the_reference() -> None:
    text = section(reference("fixtures"), "Marker")
    assert missing(list(MARKER_ARGUMENTS), text) == []
    rows = "".join(re.findall(r"^\| (`.+?) \|", text, re.MULTILINE))
    assert sorted(re.findall(r"`(\w+)`", rows)) == sorted(MARKER_ARGUMENTS)


def test_every_command_option_and_setting_is_in_the_reference() -> None:
    text = reference("cli")
    for name, command in group.commands.items():
        each = command.commands.values() if isinstance(command, click.Group) else [command]
        parameters = [parameter for command in each for parameter in command.params]
        options = [option for parameter in parameters for option in parameter.opts if option.startswith("--")]
        assert [option for option in options if f"`{option}" not in section(text, name)] == []
    assert missing([known.environment for known in SETTINGS.values()], text) == []
    names = [*SETTINGS, *(name for own in COMMAND_SETTINGS.values() for name in own)]
    assert missing([name.replace("_", "-") for name in names], section(text, "Settings")) == []
    assert missing(["NO_COLOR", "FORCE_COLOR", *Reason], text) == []


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("scenarios", list(CATALOGUE)),
        ("outcomes", list(Outcome)),
        ("protocol", [*Status, *DIALECTS]),
    ],
)
def test_every_name_is_on_the_page_of_its_kind(page: str, names: list[str]) -> None:
    assert missing(names, reference(page)) == []


def test_every_check_has_its_section_on_the_page_of_its_family() -> None:
    for letter, family in FAMILIES.items():
        text = reference(f"checks/{family.split()[0].lower()}")
        sections = re.findall(r"^## (\w+) ([\w.-]+)$", text, re.MULTILINE)
        assert sections == [(check.id, check.name) for check in CHECKS.values() if check.id.startswith(letter)]
    assert missing_links([f"{check.id} {check.name}" for check in CHECKS.values()], reference("checks")) == []
    assert f"The [{len(CHECKS)} checks](../reference/checks.md)" in (DOCS / "howto" / "check.md").read_text(
        encoding="utf-8"
    )


def missing_links(names: list[str], text: str) -> list[str]:
    """Return the names that are no link in a text."""
    return [name for name in names if f"[{name}](" not in text]


def test_every_code_is_in_the_reference() -> None:
    errors, exits = section(reference("protocol"), "Error codes"), section(reference("cli"), "Exit codes")
    assert [code for code in ERROR_CODES if f"| {code} |" not in errors] == []
    assert [code for code in ExitCode if f"| {int(code)} |" not in exits] == []


def test_the_pages_count_right() -> None:
    assert len(CATALOGUE) == 11
    assert "[Eleven scenarios]" in TUTORIAL
    assert "[Ten other scenarios]" in (DOCS / "first-test.md").read_text(encoding="utf-8")
    assert f"{len(CHECKS)} checks" in README
    assert f"{len(engagelab_mock.FAULTS)} faults" in README
    assert f"{len(engagelab_mock.FAULTS)} faults" in (DOCS / "explanation" / "compared.md").read_text(encoding="utf-8")


def test_every_known_source_tag_is_explained() -> None:
    known = (DOCS / "explanation" / "known-and-unknown.md").read_text(encoding="utf-8")
    explained = set(re.findall(r"^\| \[(.)\] \|", known, re.MULTILINE))
    used = {tag for _, text in PAGES for tag in re.findall(r"(?<!`)\[([A-Z?])\](?!\()", text)}
    assert explained == set("SDKXCP?")
    assert used <= explained


# --- Tables and JSON


def test_the_tables_are_current() -> None:
    tables = runpy.run_path(str(DOCS / "tables"))
    pages = tables["pages"]()
    assert len(pages) >= 4
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert tables["render"](text) == text, f"run `python docs/tables`: {page.name} is out of date"


def test_a_table_out_of_date_is_noticed() -> None:
    tables = runpy.run_path(str(DOCS / "tables"))
    text = reference("scenarios")
    assert tables["render"](text.replace("| `lost` |", "| `found` |")) == text


def test_the_reference_has_the_fields_of_every_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    signer = ["--username", "acme", "--secret", "s3cret"]
    with LoopbackServer(Recorder(username="acme", secret="s3cret")) as server:
        main(["check", server.url, *signer, "--only", "A0*", "--format", "json"])
        for line in capsys.readouterr().out.splitlines():
            check_fields("check", json.loads(line))
        main(["explore", server.url, "--scenario", "plan-sent", "--format", "json"])
        for line in capsys.readouterr().out.splitlines():
            check_fields("explore", json.loads(line))
    check_fields("explore", ExploreProgress(Exploration(total=1)).record())
    for arguments in (
        ["demo"],
        ["send", "sent_failed", "--url", "http://127.0.0.1:1/", "--validate"],
        ["load", "http://127.0.0.1:1/", *signer, "--rate", "100", "--duration", "0.1"],
        ["scenarios"],
        ["sign", *signer],
        ["verify", "timestamp=1", *signer],
        ["send", "verfied", "--url", "http://127.0.0.1:1/"],
    ):
        main([*arguments, "--format", "json"])
        printed = capsys.readouterr().out.splitlines()
        assert printed
        for line in printed:
            check_fields(arguments[0], json.loads(line))


def test_the_reference_has_the_fields_that_listen_prints() -> None:
    command = [sys.executable, "-m", "engagelab_mock", "listen", "--count", "1", "--format", "json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        listening = json.loads(process.stdout.readline())
        with EngageLab(Receiver.http(listening["url"])) as engagelab:
            engagelab.send("+6591234567", scenario=["plan"])
        callback = json.loads(process.stdout.readline())
        assert process.wait(timeout=10) == 0
    check_fields("listen", listening)
    check_fields("listen", callback)


# --- The other pages


def test_the_pages_are_ordered_by_the_reader_s_intent() -> None:
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    intents = ["Frameworks", "The whole loop", "Break it", "Check it", "Time and data", "Run it"]
    assert re.findall(r"^:caption: (.+)$", index, re.MULTILINE) == ["Start", *intents, "Look it up", "Background"]
    assert re.findall(r"^## (.+)$", index, re.MULTILINE) == [*intents, "Look it up"]
    guides = sorted(page.stem for page in (DOCS / "howto").glob("*.md"))
    # Each is in the sidebar, and in the list of the front page.
    assert sorted(re.findall(r"^[^\[\n]* <howto/([\w-]+)>$", index, re.MULTILINE)) == guides
    assert sorted(re.findall(r"\]\(howto/([\w-]+)\.md\)", index)) == guides
    assert [name for name, text in PAGES if text.startswith("# How to")] == []


def test_the_architecture_page_is_short_and_names_only_existing_files() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 66  # one page, two pictures included
    named = re.findall(r"`([\w./]+(?:/|\.py|\.pyi|\.json))`", text)
    assert len(named) > 10
    package = ROOT / "src" / "engagelab_mock"
    homes = (ROOT, package, package / "protocol", package / "messages", package / "delivery")
    assert [name for name in named if not any((home / name).exists() for home in homes)] == []
