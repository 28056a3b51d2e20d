"""The direction of imports: every layer knows only those before it, and the faces do not know each other."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import engagelab_mock

PACKAGE = "engagelab_mock"
SOURCE = Path(engagelab_mock.__file__).parent

#: Each may import those before it, and itself.
LAYERS = [
    "errors",
    "starters",
    "eventloop",
    "clock",
    "generate",
    "protocol",
    "messages",
    "delivery",
    "service",
    "engagelab",
    "explore",
    "checks",
    "load",
]
#: The public class: its verbs load the layers after it when they are called, and its module does not.
FACADE = "engagelab"
#: Each may import every layer and the configuration. Of the other faces, it may import only those named here.
FACES: dict[str, set[str]] = {
    "server": set(),
    "integrations": set(),
    "cli": {"server"},
    "pytest": {"server", "integrations"},
}
#: The modules outside the layers, each with everything it may import.
BESIDE: dict[str, set[str]] = {
    "config": {"errors"},
    "faker_provider": {"generate"},
    "strategies": {*LAYERS, "strategies"},
}
#: Modules that are one part under two names.
SAME = {
    **dict.fromkeys(["pytest_plugin", "pytest_support", "pytest_checks", "pytest_report"], "pytest"),
    "__main__": "cli",
}
#: Where a library may be imported; nowhere else, and a library not named here wherever it is needed.
HOMES: dict[str, set[str]] = {
    "werkzeug": {"server"},
    "responses": {"integrations"},
    "requests": {"integrations"},
    "faker": {"faker_provider"},
    "click": {"cli"},
    "rich": {"cli"},
    "pytest": {"pytest"},
    "hypothesis": {"strategies"},
    "locust": {"integrations"},
    "hdrh": {"load"},
    "httptools": {"load"},
    "uvloop": {"load"},
    "sqlite3": {"service", "explore"},
}


def part_of(module: str) -> str:
    """Return the layer, the face or the module outside both to which a module belongs; "" is the package."""
    first = module.removeprefix(PACKAGE).removeprefix(".").partition(".")[0]
    return SAME.get(first, first)


def allowed_to(part: str) -> set[str]:
    """Return the parts that a part may import."""
    if part == FACADE:
        return set(LAYERS)
    if part in LAYERS:
        return set(LAYERS[: LAYERS.index(part) + 1])
    if part in FACES:
        return {*LAYERS, "config", part, *FACES[part]}
    return {*BESIDE[part], part} if part in BESIDE else set()


def run_time_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Yield every node that can run, at the top or inside functions: all but `if TYPE_CHECKING:` bodies."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}:
            for other in child.orelse:
                yield from (other, *run_time_nodes(other))
        else:
            yield child
            yield from run_time_nodes(child)


def imported(node: ast.AST, package: list[str]) -> list[str]:
    """Return the modules, or names in modules, that a node imports; relative imports start from `package`."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        base = package[: len(package) - node.level + 1] if node.level else []
        source = ".".join([*base, *([node.module] if node.module else [])])
        return [f"{source}.{alias.name}" for alias in node.names]
    if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
        return [arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
    return []


def violations(module: str, source: str, *, is_package: bool = False) -> list[str]:
    """Return what a module's source imports and may not, as "line: name"."""
    part = part_of(module)
    names = module.split(".")
    found = []
    for node in run_time_nodes(ast.parse(source)):
        for name in imported(node, names if is_package else names[:-1]):
            top = name.partition(".")[0]
            ours = top == PACKAGE and name != f"{PACKAGE}.__version__"
            if (ours and part_of(name) not in allowed_to(part)) or part not in HOMES.get(top, {part}):
                found.append(f"{getattr(node, 'lineno', 0)}: {name}")
    return found


def module_name(path: Path) -> str:
    names = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(names).removesuffix(".__init__")


#: The starters' files are projects of their users.
MODULES = sorted(path for path in SOURCE.rglob("*.py") if path.parts[-2] == "starters" or "starters" not in path.parts)


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_a_module_imports_only_the_layers_that_it_may(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert violations(module_name(path), source, is_package=path.name == "__init__.py") == []


def test_every_module_has_its_place() -> None:
    known = {"", *LAYERS, *FACES, *BESIDE}
    assert {module_name(path) for path in MODULES if part_of(module_name(path)) not in known} == set()


def test_no_module_is_longer_than_a_reader_holds_at_once() -> None:
    root = Path(__file__).parent.parent
    lines = {
        str(path.relative_to(root)): len(path.read_text(encoding="utf-8").splitlines())
        for folder in ("src", "tests", "benchmarks", "docs")
        for path in (root / folder).rglob("*.py")
    }
    # `EngageLab` is everything that a user can say.
    facade = {str(Path("src", PACKAGE, f"{FACADE}.py")): 750}
    assert {path: count for path, count in lines.items() if count > facade.get(path, 400)} == {}


BAD = [
    ("protocol.events", "from engagelab_mock.messages.message import Message", "messages.message.Message"),
    ("protocol.events", "import engagelab_mock.delivery.sender", "delivery.sender"),
    ("protocol.events", "from engagelab_mock import service", "service"),
    ("protocol.events", "from engagelab_mock import EngageLab", "EngageLab"),
    ("protocol.events", "from ..lifecycle import graph", "lifecycle.graph"),
    ("protocol.events", "from .. import lifecycle", "lifecycle"),
    ("errors", "from engagelab_mock.clock import Clock", "clock.Clock"),
    ("messages.scenario", "def f():\n    from engagelab_mock.service import engine", "service.engine"),
    ("delivery.sender", "class A:\n    def f(self):\n        import engagelab_mock.service", "service"),
    ("delivery.sender", "try:\n    import engagelab_mock.cli\nexcept ImportError:\n    pass", "cli"),
    ("delivery.sender", "import importlib\nimportlib.import_module('engagelab_mock.cli')", "cli"),
    ("service.engine", "from engagelab_mock.config import SETTINGS", "config.SETTINGS"),
    ("service.engine", "from engagelab_mock.checks.runner import Runner", "checks.runner.Runner"),
    ("server.loopback", "from engagelab_mock.cli.output import Output", "cli.output.Output"),
    ("pytest_plugin", "from engagelab_mock.cli.output import Output", "cli.output.Output"),
    ("integrations.interception", "from engagelab_mock.server.app import create_app", "server.app.create_app"),
    ("cli.send", "from engagelab_mock.pytest_support import settings_of", "pytest_support.settings_of"),
    ("faker_provider", "from engagelab_mock.protocol.status import Status", "protocol.status.Status"),
    ("generate", "from engagelab_mock.faker_provider import EngageLabProvider", "faker_provider.EngageLabProvider"),
    (
        "protocol.events",
        "if TYPE_CHECKING:\n    pass\nelse:\n    from engagelab_mock.service import engine",
        "service.engine",
    ),
]


@pytest.mark.parametrize(("module", "source", "name"), BAD)
def test_a_bad_import_is_caught(module: str, source: str, name: str) -> None:
    assert [found.partition(": ")[2] for found in violations(f"{PACKAGE}.{module}", source)] == [f"{PACKAGE}.{name}"]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("delivery.sender", "import werkzeug.test"),
        ("delivery.transport.http", "import requests"),
        ("generate", "def f():\n    from faker import Faker"),
        ("protocol.events", "import pytest"),
        ("service.engine", "from rich.console import Console"),
    ],
)
def test_a_library_out_of_its_place_is_caught(module: str, source: str) -> None:
    assert violations(f"{PACKAGE}.{module}", source)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("protocol.events", "from engagelab_mock.errors import UsageError\nfrom .status import Status\nimport msgspec"),
        ("messages.scenario", "from ..protocol.status import Status"),
        ("errors", "if TYPE_CHECKING:\n    from engagelab_mock.delivery.model import Delivery"),
        ("errors", "if typing.TYPE_CHECKING:\n    import engagelab_mock.service"),
        ("cli.listen", "from engagelab_mock.server.loopback import LoopbackServer\nimport engagelab_mock.config"),
        ("cli.send", "from engagelab_mock import __version__\nimport click"),
        ("pytest_plugin", "def f():\n    from engagelab_mock.pytest_support import settings_of\nimport pytest"),
        ("__main__", "from engagelab_mock.cli import main"),
        ("delivery.sender", "import engagelab_mocking.service"),
    ],
)
def test_a_good_import_is_not_caught(module: str, source: str) -> None:
    assert violations(f"{PACKAGE}.{module}", source) == []


def test_a_package_s_relative_imports_start_from_itself() -> None:
    source = "from .service import engagelab"
    assert violations(f"{PACKAGE}.protocol", source, is_package=True) == []
    assert violations(f"{PACKAGE}.protocol", source) == [f"1: {PACKAGE}.service.engagelab"]
