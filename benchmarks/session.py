"""G3: the cost of the first test of a session, with imports, in a process that has imported pytest."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator

from benchmarks.peers import why_missing
from benchmarks.row import Row
from benchmarks.timing import Effort

_PEER = "httpserver"
#: What each child does: `up` sets up, `down` takes down, both timed by the wall clock; no server may
#: listen on `port` afterwards: a server that does not stop would be the quickest.
_SUBJECTS = {
    "in_process": (
        "from engagelab_mock.pytest_support import TestSettings\n"
        "from engagelab_mock import EngageLab\n"
        "engagelab = EngageLab().__enter__()",
        "engagelab.close()",
        "None",
    ),
    "socket_server": (
        "from engagelab_mock.server.loopback import LoopbackServer\n"
        "from engagelab_mock import Recorder\n"
        "server = LoopbackServer(Recorder()).__enter__()",
        "server.__exit__(None, None, None)",
        "server.port",
    ),
    "engagelab_server": (
        "from engagelab_mock.pytest_support import TestSettings\n"
        "from engagelab_mock import EngageLab\n"
        "from engagelab_mock.server.running import ApiServer\n"
        "engagelab = EngageLab().__enter__()\n"
        "server = ApiServer(engagelab).__enter__()",
        "server.__exit__(None, None, None)\nengagelab.close()",
        "int(server.url.rpartition(':')[2])",
    ),
    _PEER: (
        "from pytest_httpserver import HTTPServer\nserver = HTTPServer(port=0)\nserver.start()",
        "server.clear()\nserver.stop()",
        "server.port",
    ),
}
_CHILD = """
import json, socket, time
import pytest, engagelab_mock.pytest_plugin
started = time.perf_counter()
{up}
ready = time.perf_counter()
{down}
ended = time.perf_counter()
if {port} is not None and socket.socket().connect_ex(("127.0.0.1", {port})) == 0:
    raise SystemExit("the server still listens")
print(json.dumps([ready - started, ended - ready]))
"""


def measure(effort: Effort) -> Iterator[Row]:
    """Time set-up and tear-down in fresh processes, in turn, next to pytest-httpserver's.

    The budgets are times, so these rows are in milliseconds; the context has pytest-httpserver's, from the same run.
    """
    subjects = [name for name in _SUBJECTS if name != _PEER or not why_missing("pytest_httpserver")]
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in subjects}
    with tempfile.TemporaryDirectory() as cache:
        if effort.processes > 1:
            for name in subjects:
                _child(name, cache)  # fills the bytecode cache
        for _ in range(effort.processes):
            for name, figures in taken.items():
                figures.append(_child(name, cache))
    # Other work on the machine makes a set-up longer, never shorter; a tear-down depends on the moment it falls into.
    up = {name: min(figure[0] for figure in figures) * 1e3 for name, figures in taken.items()}
    down = {name: statistics.median(figure[1] for figure in figures) * 1e3 for name, figures in taken.items()}
    context = {f"{name}_up_ms": up[name] for name in up} | {f"{name}_down_ms": down[name] for name in down}
    if _PEER in up:
        context["in_process_up / httpserver_up"] = up["in_process"] / up[_PEER]

    def row(what: str, value: float, budget: float) -> Row:
        return Row(goal="G3", what=what, value=value, budget=budget, unit="ms", context=context)

    yield row("session set-up and tear-down, in process", up["in_process"] + down["in_process"], 20)
    yield row("session set-up and tear-down, with a socket server", up["socket_server"] + down["socket_server"], 80)
    yield row("stopping the socket server", down["socket_server"], 5)
    api = up["engagelab_server"] + down["engagelab_server"]
    yield row("session set-up and tear-down of engagelab_server, the REST API on a socket", api, 80)
    yield row("stopping engagelab_server", down["engagelab_server"], 5)


def _child(name: str, cache: str) -> tuple[float, float]:
    up, down, port = _SUBJECTS[name]
    environment = os.environ | {"PYTHONPYCACHEPREFIX": cache}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-c", _CHILD.format(up=up, down=down, port=port)]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise RuntimeError(f"{name} failed:\n{ran.stderr[-2000:]}")
    set_up, taken_down = json.loads(ran.stdout)
    return set_up, taken_down
