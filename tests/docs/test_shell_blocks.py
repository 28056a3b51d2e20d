"""The shell blocks of a page run as written, in their order, in one folder."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, blocks, environment, folder
from tests.docs.ports import DEFAULT_PORT, free_ports
from tests.runtimes import PATIENCE, RUNTIMES, skip_without_runtime

#: The commands that run until Ctrl-C: each is alone in its block.
SERVER = re.compile(r"engagelab-mock (?:serve|listen|record)\b|python receiver\.py|env .* sh start\.sh|node shop\.mjs")
#: The packages are there already.
INSTALL = re.compile(r"^python -m pip install [^&\n]*(?:&& )?", re.MULTILINE)
#: The pages whose commands run, and those whose files are needed as well.
RUN = ["README", "docs/first-test", "docs/tutorial"]
HOWTOS = [
    "any-language",
    "check",
    "ci",
    "console",
    "explore-any-language",
    "failures",
    "load",
    "races",
    "serve",
    "tapes",
]
RUN += [f"docs/howto/{name}" for name in HOWTOS]
RUN += [f"docs/howto/{name}" for name in RUNTIMES if name != "express"]
FILES_OF = {page: ["docs/howto/any-language"] for page in ("docs/howto/check", "docs/howto/load")}


@pytest.mark.slow
@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("jq")), reason="curl and jq are not here")
@pytest.mark.parametrize("page", RUN)
def test_the_commands_of_a_page_run(page: str) -> None:
    if (name := Path(page).name) in RUNTIMES:
        skip_without_runtime(name)
    if "node " in "".join(blocks(page, "sh")) and not shutil.which("node"):
        pytest.skip("Node is not installed")
    with ExitStack() as stack:
        directory = stack.enter_context(folder(page, *FILES_OF.get(page, [])))
        terminal = Terminal(directory, free_ports(page))
        stack.callback(terminal.close)
        for block in blocks(page, "sh"):
            if commands := INSTALL.sub("", block).strip():
                terminal.run(commands)


def test_each_block_can_be_copied_into_one_terminal() -> None:
    for page in PAGES:
        assert "```console" not in PAGES[page], page
        for block in blocks(page, "sh"):
            commands = block.splitlines()
            assert not any(command.startswith("$ ") for command in commands), f"{page}: a prompt is copied along"
            servers = [command for command in commands if SERVER.search(command) and not command.endswith("&")]
            assert len(commands) == 1 or not servers, f"{page}: a server blocks the next"


class Terminal:
    """Run the blocks in one folder, the servers in the background until another needs the port, or the page ends."""

    def __init__(self, directory: Path, ports: dict[str, str]) -> None:
        self._directory = directory
        self._ports = ports
        self._servers: dict[str, subprocess.Popen[str]] = {}
        (directory / ".curlrc").write_text("fail\nsilent\nshow-error\n", encoding="utf-8")
        self._environment = environment() | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "CURL_HOME": str(directory),
            "ENGAGELAB_MOCK_PORT": ports[DEFAULT_PORT],
            "PYTEST_ADDOPTS": "-p engagelab_mock -p no:cacheprovider",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        }
        for path in filter(Path.is_file, directory.rglob("*")):
            path.write_text(self._substituted(path.read_text(encoding="utf-8")), encoding="utf-8")

    def run(self, block: str) -> None:
        if SERVER.match(block) and "\n" not in block:
            self._serve(block)
            return
        expected = re.search(r"# exits with (\d)$", block, re.MULTILINE)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", self._substituted(block)],
            cwd=self._directory,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert done.returncode == int(expected[1] if expected else 0), f"{block}\n{done.stdout}\n{done.stderr}"

    def close(self) -> None:
        for port in list(self._servers):
            self._stop(port)

    def _serve(self, command: str) -> None:
        named = re.search(r"(?:--port |receiver\.py |PORT=|shop\.mjs )(\d+)", command)
        port = named[1] if named else DEFAULT_PORT
        if port in self._servers:
            self._stop(port)
        server = self._servers[port] = subprocess.Popen(
            shlex.split(self._substituted(command)),
            cwd=self._directory,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert server.stdout is not None
        assert self._ports[port] in server.stdout.readline(), f"{command} does not print its address"

    def _stop(self, port: str) -> None:
        """Press Ctrl-C."""
        with self._servers.pop(port) as server:
            server.send_signal(signal.SIGINT)
            server.communicate(timeout=PATIENCE)

    def _substituted(self, text: str) -> str:
        return re.sub(r"\b\d{4,5}\b", lambda port: self._ports.get(port[0], port[0]), text)
