"""`python -m benchmarks.shape`: how much code there is, and how much of it one `send` goes through.

Counted, not timed, so that the figures are the same on every machine with the same version of Python.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any

import click
import msgspec

import engagelab_mock
from engagelab_mock import EngageLab, Receiver

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_PACKAGE = Path(engagelab_mock.__file__).parent
#: The scenario that is sent: four callbacks.
_SCENARIO = "verified"


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """Hold the figures of a version."""

    #: Python files under src, and their lines.
    modules: int
    lines: int
    #: Modules that define a class named EngageLab.
    classes: list[str]
    #: Public attributes of an EngageLab that are not the async twin of another, and how many twins there are.
    names: list[str]
    twins: int
    #: Calls that one warm `send` of four callbacks makes, itself included, and the modules that they are in; the same
    #: to a receiver with credentials, whose callbacks are signed.
    calls: int
    signed_calls: int
    called: list[str]
    #: The frames from the app to `send`, both included, innermost first.
    frames: list[str]


def shape() -> Shape:
    """Count everything."""
    files = sorted(_PACKAGE.rglob("*.py"))
    names, twins = public_names(EngageLab)
    calls, frames = trace_send()
    signed, _ = trace_send("acme", "s3cret")
    return Shape(
        modules=len(files),
        lines=sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files),
        classes=list(_defining("EngageLab", files)),
        names=names,
        twins=twins,
        calls=len(calls),
        signed_calls=len(signed),
        called=sorted({_module(code) for code in calls}),
        frames=frames,
    )


def public_names(kind: type) -> tuple[list[str], int]:
    """Return the public attributes of a class's objects without the async twins, and the number of twins.

    Attributes that `__init__` sets count as those of the class do. A twin is a coroutine function that has the name of
    another attribute with an `a` in front.
    """
    made = kind()
    names = sorted(name for name in {*dir(kind), *vars(made)} if not name.startswith("_"))
    twins = [
        name
        for name in names
        if name[0] == "a" and name[1:] in names and inspect.iscoroutinefunction(getattr(kind, name, None))
    ]
    return [name for name in names if name not in twins], len(twins)


def trace_send(username: str = "", secret: str = "") -> tuple[list[CodeType], list[str]]:
    """Return the calls of one `send` to a WSGI app in process, and the frames from the app to `send`.

    A call is a "call" event of `sys.setprofile` whose code is in a file of the package: a function, property or
    comprehension that is entered, or a generator or coroutine that is entered or resumed. Calls within the app, the
    standard library and other packages do not count. It is the second `send`: the first one imports, and builds what
    is built once.
    """
    calls: list[CodeType] = []
    stacks: list[list[FrameType]] = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if not stacks:
            stacks.append(list(_outwards(sys._getframe())))
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]

    def profile(frame: FrameType, event: str, argument: object) -> None:
        if event == "call" and _is_ours(frame.f_code):
            calls.append(frame.f_code)

    with EngageLab(Receiver.wsgi(app, "/engagelab", username=username, secret=secret)) as engagelab:
        engagelab.send("+6591234567", scenario=_SCENARIO)
        stacks.clear()
        _profiled(profile, lambda: engagelab.send("+6591234567", scenario=_SCENARIO))
    return calls, [f"{_module(code)}.{code.co_qualname}" for code in _from_app_to_send(stacks[0])]


def _profiled(profile: Callable[[FrameType, str, Any], object], work: Callable[[], object]) -> None:
    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(before)


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _from_app_to_send(frames: list[FrameType]) -> Iterator[CodeType]:
    for frame in frames:
        yield frame.f_code
        if frame.f_code is EngageLab.send.__code__:
            return


def _is_ours(code: CodeType) -> bool:
    return code.co_filename.startswith(str(_PACKAGE))


def _module(code: CodeType) -> str:
    path = Path(code.co_filename).with_suffix("")
    path = path.relative_to(_PACKAGE if _is_ours(code) else path.parent)
    return ".".join(part for part in path.parts if part != "__init__") or "__init__"


def _defining(name: str, files: Iterable[Path]) -> Iterator[str]:
    for file in files:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        if any(isinstance(node, ast.ClassDef) and node.name == name for node in ast.walk(tree)):
            yield ".".join(file.relative_to(_PACKAGE).with_suffix("").parts)


@click.command()
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", help="What to print.")
def main(form: str) -> None:
    """Count modules, names, and what one `send` of four callbacks goes through."""
    figures = shape()
    if form == "json":
        click.echo(msgspec.json.encode(figures))
        return
    click.echo(f"modules in src: {figures.modules}, of {figures.lines:,} lines")
    click.echo(f"classes named EngageLab: {len(figures.classes)} ({', '.join(figures.classes)})")
    click.echo(f"public names of EngageLab: {len(figures.names)}, and {figures.twins} async twins")
    click.echo(f"  {' '.join(figures.names)}")
    click.echo(
        f"one send of four callbacks: {figures.calls} calls in {len(figures.called)} modules; "
        f"{figures.signed_calls} calls when they are signed"
    )
    click.echo(f"  {' '.join(figures.called)}")
    click.echo(f"frames from the app to send, both counted: {len(figures.frames)}")
    for frame in figures.frames:
        click.echo(f"  {frame}")


if __name__ == "__main__":
    main()
