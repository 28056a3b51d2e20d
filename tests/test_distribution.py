"""What is shipped: a wheel with the package and nothing else, an sdist with all it takes to build and test it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from configparser import ConfigParser
from email.parser import Parser
from pathlib import Path

import pytest

from engagelab_mock.protocol.events import KINDS
from engagelab_mock.starters import STARTERS

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
STEM = f"engagelab_mock-{PROJECT['project']['version']}"
LEFTOVERS = ["dist", "build", "src/engagelab_mock.egg-info", "src/build"]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build both distributions outside the tree, the wheel from the sdist, as a release does."""
    directory = tmp_path_factory.mktemp("dist")
    already = {name for name in LEFTOVERS if (ROOT / name).exists()}
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(directory), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {name for name in LEFTOVERS if (ROOT / name).exists()} == already
    return directory


@pytest.fixture(scope="module")
def wheel(built: Path) -> zipfile.ZipFile:
    (path,) = built.glob("*.whl")
    assert path.name == f"{STEM}-py3-none-any.whl"
    return zipfile.ZipFile(path)


@pytest.fixture(scope="module")
def sdist_names(built: Path) -> set[str]:
    (path,) = built.glob("*.tar.gz")
    assert path.name == f"{STEM}.tar.gz"
    with tarfile.open(path) as archive:
        names = [member.name for member in archive.getmembers() if member.isfile()]
    assert all(name.startswith(f"{STEM}/") for name in names)
    return {name.removeprefix(f"{STEM}/") for name in names}


def sources(directory: str) -> set[str]:
    """Return the tree's own files below a directory, without what running it leaves behind."""
    files = [path.relative_to(ROOT) for path in (ROOT / directory).rglob("*") if path.is_file()]
    return {
        path.as_posix()
        for path in files
        if not any(part.startswith((".", "__pycache__", "_build")) for part in path.parts)
    }


def test_two_distributions_are_built(built: Path) -> None:
    assert sorted(path.name for path in built.iterdir()) == [f"{STEM}-py3-none-any.whl", f"{STEM}.tar.gz"]


def test_the_wheel_holds_only_the_package(wheel: zipfile.ZipFile) -> None:
    package = {name.removeprefix("src/") for name in sources("src")}
    metadata = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"}
    assert set(wheel.namelist()) == package | {f"{STEM}.dist-info/{name}" for name in metadata}


@pytest.mark.parametrize(
    "name",
    [
        *("__init__.py", "__init__.pyi", "py.typed", "pytest_plugin.py"),
        *(f"protocol/{kind}.schema.json" for kind in ("callback", *KINDS)),
        *sorted({f"starters/{file}" for each in STARTERS.values() for file in each.files.values()}),
    ],
)
def test_the_wheel_holds_the_files_that_users_rely_on(name: str, wheel: zipfile.ZipFile) -> None:
    assert f"engagelab_mock/{name}" in wheel.namelist()


def test_the_wheel_registers_the_command_and_the_plugin(wheel: zipfile.ZipFile) -> None:
    parser = ConfigParser()
    parser.read_string(wheel.read(f"{STEM}.dist-info/entry_points.txt").decode())
    assert {section: dict(parser[section]) for section in parser.sections()} == {
        "console_scripts": {"engagelab-mock": "engagelab_mock.cli:main"},
        "pytest11": {"engagelab_mock": "engagelab_mock.pytest_plugin"},
    }


def test_the_wheel_names_its_purpose_and_its_dependencies(wheel: zipfile.ZipFile) -> None:
    metadata = Parser().parsestr(wheel.read(f"{STEM}.dist-info/METADATA").decode())
    required = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert sorted(required) == sorted(PROJECT["project"]["dependencies"])
    assert not any("<" in line or "==" in line for line in required), "an upper pin holds every user back"
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Requires-Python"] == ">=3.11"
    assert {"Framework :: Pytest", "Typing :: Typed"} <= set(metadata.get_all("Classifier", []))


def test_the_wheel_shows_itself_well_on_a_package_index(wheel: zipfile.ZipFile) -> None:
    metadata = Parser().parsestr(wheel.read(f"{STEM}.dist-info/METADATA").decode())
    assert metadata["Description-Content-Type"] == "text/markdown"
    shown = str(metadata.get_payload())
    assert shown.startswith("# engagelab-mock\n")
    assert "python -m pip install . && engagelab-mock demo" in shown
    assert "1  verified   200" in shown, "the picture's text stands for it"
    # An index shows no file of the project: no link or picture may lead into it.
    assert re.findall(r"\]\((?!https://)[^)]*\)", shown) == []
    assert "your first test, the first five minutes" in shown


def test_a_package_index_takes_both(built: Path) -> None:
    command = [sys.executable, "-m", "twine", "check", "--strict", *map(str, sorted(built.iterdir()))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("PASSED") == 2


@pytest.mark.parametrize("runner", ["uvx --from", "pipx run --spec"])
def test_the_wheel_runs_without_being_installed(runner: str, built: Path) -> None:
    program, *options = runner.split()
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not here")
    (path,) = built.glob("*.whl")
    command = [program, *options, str(path), "engagelab-mock", "demo", "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["signatures_valid"] is True


def test_the_sdist_holds_everything_the_project_lists(sdist_names: set[str]) -> None:
    wanted = {"pyproject.toml", "PKG-INFO"}
    for name in PROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]:
        wanted |= sources(name) if (ROOT / name).is_dir() else {name}
    assert wanted - sdist_names == set()
    # hatchling ships the .gitignore it went by.
    assert sdist_names - wanted <= {".gitignore"}


def test_the_wheel_works_on_its_own(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    wheel.extractall(tmp_path)
    program = (
        "import json, sys; sys.path.insert(0, sys.argv[1])\n"
        "import engagelab_mock as em\n"
        "from engagelab_mock.protocol.callback import SCHEMA_FILE\n"
        "print(json.dumps([em.__file__, json.loads(SCHEMA_FILE.read_text()) == em.callback_schema(),\n"
        "                  em.EngageLab().send('+6591234567').statuses]))"
    )
    # -P: not the working directory first, so that Python finds the unpacked wheel.
    done = subprocess.run(
        [sys.executable, "-P", "-c", program, str(tmp_path)], capture_output=True, text=True, check=True, timeout=60
    )
    assert json.loads(done.stdout) == [
        str(tmp_path / "engagelab_mock" / "__init__.py"),
        True,
        ["plan", "sent", "delivered", "verified"],
    ]
