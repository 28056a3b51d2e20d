"""The package's public names: each resolves, and type checkers see the same ones."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import engagelab_mock
from benchmarks import shape

STUB = Path(engagelab_mock.__file__).with_suffix(".pyi")


def stub_names() -> dict[str, str | None]:
    """Return each name the stub declares, with the module it is imported from."""
    names: dict[str, str | None] = {}
    for node in ast.parse(STUB.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom):
            # Only `import X as X` makes X public in a stub.
            names |= {alias.name: node.module for alias in node.names if alias.asname == alias.name}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names[node.target.id] = None
    return names


HOMES = stub_names()


def test_the_stub_declares_the_names_that_there_are() -> None:
    assert sorted(HOMES) == dir(engagelab_mock)


@pytest.mark.parametrize("name", sorted(HOMES))
def test_a_public_name_is_the_object_in_the_stub(name: str) -> None:
    value = getattr(engagelab_mock, name)
    home = HOMES[name]
    if home is None:
        assert isinstance(value, str)
    else:
        assert value is getattr(importlib.import_module(home), name)
    assert getattr(engagelab_mock, name) is value


@pytest.mark.parametrize("name", ["Recever", "_homes_of", "importlib"])
def test_an_unknown_name_is_an_attribute_error(name: str) -> None:
    with pytest.raises(AttributeError, match=f"module 'engagelab_mock' has no attribute '{name}'"):
        getattr(engagelab_mock, name)
    assert not hasattr(engagelab_mock, name)


def test_an_unknown_name_cannot_be_imported() -> None:
    with pytest.raises(ImportError, match="cannot import name 'Recever'"):
        exec("from engagelab_mock import Recever")


#: All that a user can say to an EngageLab, next to the async twins of the verbs.
VERBS = [
    "send",
    "begin_send",
    "send_many",
    "batch",
    "deliver",
    "notify",
    "uplink",
    "system_event",
    "settle",
    "rule",
    "inbox",
    "audit_template",
    "validate_address",
    "save_receiver",
    "refresh",
    "reset",
    "close",
    "play",
    "explore",
    "replay",
    "tape",
    "check",
    "load",
]
PARTS = [
    "receiver",
    "receivers",
    "clock",
    "seed",
    "dialect",
    "defaults",
    "journal",
    "api",
    "account",
    "pending",
    "rules",
    "templates",
    "accepted",
]


def test_the_verbs_and_parts_of_an_engagelab_are_public() -> None:
    names, twins = shape.public_names(engagelab_mock.EngageLab)
    assert {*VERBS, *PARTS} <= set(names)
    assert twins >= 15
    for name in (*VERBS, *PARTS):
        assert inspect.getdoc(getattr(engagelab_mock.EngageLab, name))


def test_nothing_else_of_an_engagelab_is_public() -> None:
    names, _ = shape.public_names(engagelab_mock.EngageLab)
    assert set(names) <= {*VERBS, *PARTS}
    assert len(names) <= 36


def test_there_is_one_class_of_that_name() -> None:
    assert len(shape.shape().classes) == 1


def test_the_words_of_the_design_are_public() -> None:
    words = "Message Status Transition Scenario Event Callback Signature Receiver Attempt Delivery Journal Run Outcome"
    assert {*words.split(), "Dialect"} <= set(dir(engagelab_mock))


def test_a_name_is_loaded_only_when_it_is_used() -> None:
    program = (
        "import sys, engagelab_mock\n"
        "before = [name for name in sys.modules if name.startswith('engagelab_mock.')]\n"
        "engagelab_mock.Status\n"
        "print(before, [name for name in sys.modules if name.startswith('engagelab_mock.')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert (
        done.stdout.strip()
        == "[] ['engagelab_mock.protocol', 'engagelab_mock.errors', 'engagelab_mock.protocol.status']"
    )


def test_a_star_import_brings_every_name() -> None:
    names: dict[str, object] = {}
    exec("from engagelab_mock import *", names)
    assert sorted(names.keys() - {"__builtins__"}) == [name for name in dir(engagelab_mock) if name != "__version__"]


def test_the_version_is_the_distribution_s() -> None:
    from importlib.metadata import version

    assert engagelab_mock.__version__ == version("engagelab-mock")


@pytest.mark.slow
def test_type_checkers_accept_usual_use_and_refuse_misuse(tmp_path: Path) -> None:
    usual = Path(__file__).with_name("typed_usage.py")
    misuse = tmp_path / "misuse.py"
    misuse.write_text("import engagelab_mock\n\nengagelab_mock.EngageLab().send(to=1).statuses + 1\n")
    command = [sys.executable, "-m", "mypy", "--strict", "--no-color-output", "--cache-dir", str(tmp_path / "cache")]
    done = subprocess.run(
        [*command, str(usual), str(misuse)], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300
    )
    found = [line for line in done.stdout.splitlines() if ": error:" in line]
    assert [line for line in found if "misuse.py:3:" not in line] == [], done.stdout + done.stderr
    assert sorted(line.rpartition("[")[2] for line in found) == ["arg-type]", "operator]"]
