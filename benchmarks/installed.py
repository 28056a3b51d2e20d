"""Two directories to run pytest from: pytest alone, and pytest with this project as a wheel installs it."""

from __future__ import annotations

import compileall
import os
import shutil
import subprocess
import sys
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

import engagelab_mock

PROJECT = "engagelab-mock"


class Installed:
    """Hold the two directories, made below `root`.

    Neither has another plugin, not even Faker's, which this project depends on. An editable install would not do:
    pytest reads the list of a plugin's installed files at each start, and an editable one lists next to none.
    """

    def __init__(self, root: Path) -> None:
        self.without = root / "without"
        self.with_plugin = root / "with"
        self.empty = root / "empty"
        self.empty.mkdir()
        self.without.mkdir()
        for dist in _closure("pytest"):
            _copy(dist, self.without)
        self.prime(self.without)
        shutil.copytree(self.without, self.with_plugin, copy_function=os.link)
        _install_project(self.with_plugin)

    def command(self, *arguments: str) -> list[str]:
        """Return the command that runs pytest on nothing; `-S` keeps the environment's own packages out."""
        return [sys.executable, "-S", "-m", "pytest", "-p", "no:cacheprovider", "--collect-only", "-q", *arguments]

    def environment(self, path: Path, *, write_bytecode: bool) -> dict[str, str]:
        """Return the variables for a run; without bytecode, pytest rewrites a plugin's modules in every run."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST"))}
        added = {"PYTHONPATH": str(path), "PYTHONHASHSEED": "0", "PYTHONNOUSERSITE": "1"}
        return kept | added | ({} if write_bytecode else {"PYTHONDONTWRITEBYTECODE": "1"})

    def prime(self, path: Path) -> None:
        """Run once, so that the next run finds the compiled modules: pytest's own and the plugin's rewritten ones."""
        environment = self.environment(path, write_bytecode=True)
        subprocess.run(self.command(), cwd=self.empty, env=environment, capture_output=True, check=False)


def _closure(name: str) -> list[Distribution]:
    found: dict[str, Distribution] = {}
    wanted = [name]
    while wanted:
        dist = distribution(wanted.pop())
        if dist.name not in found:
            found[dist.name] = dist
            requirements = map(Requirement, dist.requires or ())
            wanted += [r.name for r in requirements if r.marker is None or r.marker.evaluate({"extra": ""})]
    return list(found.values())


def _copy(dist: Distribution, target: Path) -> None:
    for file in dist.files or ():
        if ".." not in file.parts and file.suffix != ".pyc":
            (target / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(str(file.locate()), target / file)


def _install_project(target: Path) -> None:
    """Copy the package with its metadata, compile it and list every file, as pip does with a wheel."""
    dist = distribution(PROJECT)
    package = Path(engagelab_mock.__file__).parent
    shutil.copytree(package, target / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    info = target / f"engagelab_mock-{dist.version}.dist-info"
    info.mkdir()
    for name in ("METADATA", "WHEEL", "entry_points.txt"):
        (info / name).write_text(dist.read_text(name) or "", encoding="utf-8")
    compileall.compile_dir(target / package.name, quiet=1, ddir="")
    files = [file for top in (target / package.name, info) for file in sorted(top.rglob("*")) if file.is_file()]
    lines = [f"{file.relative_to(target).as_posix()},{_digest(file)}\n" for file in files]
    (info / "RECORD").write_text("".join([*lines, f"{info.name}/RECORD,,\n"]), encoding="utf-8")


def _digest(file: Path) -> str:
    """Return what pip writes after a file's name: nothing for files that it compiled itself."""
    return "," if file.suffix == ".pyc" else f"sha256={'x' * 43},{file.stat().st_size}"
