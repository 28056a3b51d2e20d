"""Hand a load over to Locust: over the processes of this machine, or over machines."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from engagelab_mock.cli.output import Output
from engagelab_mock.errors import UsageError
from engagelab_mock.load import ATTRIBUTES

#: The options of `load` that Locust's user class has as attributes, and those that are not for a part of the load.
_ATTRIBUTES = ("rate", "duration")
_NOT_PASSED = {
    *_ATTRIBUTES,
    *("target", "url", "username", "secret", "authorization", "mix", "part", "seed", "ledger", "report", "format"),
    *("processes", "master", "worker", "master_host", "web_port", "observe_sample"),
}


def distributes(options: Any) -> bool:
    """Tell whether a load is handed over to Locust."""
    return bool(options.processes or options.master or options.worker)


@contextmanager
def locust_load(options: Any, url: str, mix: dict[str, float], output: Output) -> Iterator[list[Path]]:
    """Run Locust until the load has ended, and yield the ledgers that are on this machine.

    Raises `UsageError` if Locust is not installed, or if the options contradict each other.
    """
    if options.master and options.worker:
        raise UsageError("a process is the master or a worker", where="--master", hint="leave out one of them")
    if options.part != "1/1":
        raise UsageError("Locust gives each worker its part", where="--part", hint="leave it out")
    if options.until_it_breaks:
        hint = "seek the rate with one process, or give a higher --rate"
        raise UsageError("the parts of a load cannot double their rate together", where="--until-it-breaks", hint=hint)
    if importlib.util.find_spec("locust") is None:
        hint = "python -m pip install 'engagelab-mock[load]'"
        raise UsageError("Locust is not installed", where="--processes", hint=hint)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(options.ledger or temporary)
        if folder.exists() and not folder.is_dir():
            raise UsageError("this is a file", where="--ledger", hint="name a folder: each worker has a ledger")
        before = set(folder.glob("*.ledger"))
        attributes = {name: getattr(options, name) for name in _ATTRIBUTES}
        attributes |= {"host": url, "mix": mix, "ledgers": str(folder), "options": _passed(options)}
        given = {
            ATTRIBUTES: json.dumps(attributes),
            "ENGAGELAB_WEBHOOK_USERNAME": options.receiver.username,
            "ENGAGELAB_WEBHOOK_SECRET": options.receiver.secret,
            "ENGAGELAB_MOCK_AUTHORIZATION": options.receiver.authorization,
        }
        # Its results go to stderr: stdout has ours.
        subprocess.run(_command(options), env={**os.environ, **given}, stdout=sys.stderr.fileno(), check=False)
        yield sorted(set(folder.glob("*.ledger")) - before)
        if options.ledger is None and not (options.master or options.worker):
            return
        output.say(f"the ledgers of this machine are in {folder}")


def _command(options: Any) -> list[str]:
    file = importlib.util.find_spec("engagelab_mock.integrations.locust_load")
    assert file is not None
    assert file.origin is not None
    command = [sys.executable, "-m", "locust", "-f", file.origin]
    if options.worker:
        return [*command, "--worker", "--master-host", options.master_host]
    command += ["--users", "1", "--only-summary"]
    if options.web_port is None:
        command.append("--headless")
    else:
        command += ["--autostart", "--autoquit", "3", "--web-host", "127.0.0.1", "--web-port", str(options.web_port)]
    if options.master:
        return [*command, "--master", "--expect-workers", str(options.processes or 1)]
    # The default port may be that of another load on this machine, and would mix up their workers.
    port = str(_free_port())
    bound = ["--master-bind-host", "127.0.0.1", "--master-bind-port", port, "--master-port", port]
    return [*command, "--processes", str(options.processes), *bound]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def _passed(options: Any) -> list[str]:
    """Return the options that each part gets as they were given."""
    context, words = click.get_current_context(), []
    for parameter in context.command.params:
        name = parameter.name or ""
        if name in _NOT_PASSED or context.get_parameter_source(name) is not ParameterSource.COMMANDLINE:
            continue
        option, value = parameter.opts[0], context.params[name]
        given = value if isinstance(value, tuple) else (value,)
        words += [option] if value is True else [word for each in given for word in (option, str(each))]
    if options.observe or options.observe_command:
        # A part learns the states to expect. The states of the messages are read when all parts have ended.
        words += ["--observe-sample", "0.000000001"]
    return words
