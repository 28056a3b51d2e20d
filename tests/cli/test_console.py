"""The console from the command line: without it, or opened in a browser."""

from __future__ import annotations

import json
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from tests.cli.conftest import Command, Program, Spawn

PATIENCE = 60.0


Opened = Callable[[], str]


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Opened]:
    """Let a program that tells the test the address be the browser, and return a function that waits for it."""
    script = tmp_path / "browser.py"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        address = listener.getsockname()
        script.write_text(
            f"import socket, sys\nsocket.create_connection({address!r}).sendall(sys.argv[1].encode())\n",
            encoding="utf-8",
        )
        monkeypatch.setenv("BROWSER", f"{sys.executable} {script} %s")

        def wait() -> str:
            connection, _ = listener.accept()
            with connection, connection.makefile(encoding="utf-8") as told:
                return told.read()

        yield wait


def first(program: Program) -> str:
    assert program.stdout is not None
    url: str = json.loads(program.stdout.readline())["url"]
    return url


def end(program: Program) -> tuple[int, str]:
    program.send_signal(signal.SIGINT)
    _, err = program.communicate()
    return program.returncode, err


def test_serve_has_a_console_and_says_where(spawn: Spawn) -> None:
    program = spawn("serve", "--port", "0")
    assert program.stdout is not None
    url = program.stdout.readline().split()[-1]
    with urlopen(url, timeout=PATIENCE) as page:
        assert b"<title>engagelab-mock console</title>" in page.read()
    _, err = end(program)
    assert f"console   {url}/ in a browser" in err


def test_serve_leaves_it_out(spawn: Spawn) -> None:
    program = spawn("serve", "--port", "0", "--no-console")
    assert program.stdout is not None
    url = program.stdout.readline().split()[-1]
    with pytest.raises(HTTPError) as caught:
        urlopen(url, timeout=PATIENCE)
    caught.value.close()
    assert caught.value.code == 404
    err = end(program)[1]
    assert "inbox     " in err
    assert "console" not in err


def test_serve_opens_it(spawn: Spawn, opened: Opened) -> None:
    program = spawn("serve", "--port", "0", "--format", "json", "--open")
    assert opened() == f"{first(program)}/"


def test_a_page_that_is_left_out_cannot_be_opened(command: Command) -> None:
    result = command("serve", "--port", "0", "--no-console", "--open")
    assert result.code == 2
    assert "--no-console leaves no page to open" in result.err


def test_without_a_browser_it_says_where_the_console_is(spawn: Spawn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROWSER", "false %s")
    program = spawn("serve", "--port", "0", "--format", "json", "--open")
    url = first(program)
    assert program.stderr is not None
    assert any(f"no browser could be opened; the console is at {url}/" in line for line in program.stderr)


def test_the_demo_is_shown_in_it(spawn: Spawn, opened: Opened) -> None:
    program = spawn("demo", "--open", "--format", "json")
    url = opened()
    assert program.stdout is not None
    lines: list[dict[str, Any]] = []
    while not lines or lines[-1]["type"] != "summary":
        lines.append(json.loads(program.stdout.readline()))
    with urlopen(f"{url}_mock/messages?limit=500", timeout=PATIENCE) as answer:
        shown = json.load(answer)["messages"]
    assert len(shown) == lines[-1]["runs"]
    code, err = end(program)
    assert code == 0
    assert f"the console is at {url}; Ctrl-C ends it" in err
