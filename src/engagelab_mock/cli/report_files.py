"""The files of --report, each with its kind of report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from engagelab_mock.errors import UnknownName, UsageError

#: The files to write, each with its kind.
Files = Sequence[tuple[str, Path]]


def report_file(given: str, kinds: Sequence[str]) -> tuple[str, Path]:
    """Return the kind and the file of a --report option.

    >>> report_file("junit=out.xml", ["junit", "html"])[0]
    'junit'
    """
    kind, equals, name = given.partition("=")
    if not equals or not name:
        raise UsageError(f"{given!r} is not KIND=FILE", where="--report", hint="such as --report html=report.html")
    if kind not in kinds:
        raise UnknownName("kind of report", kind, kinds, where="--report")
    path = Path(name)
    if not path.absolute().parent.is_dir():
        what = f"directory not found: {str(path.absolute().parent)!r}"
        raise UsageError(what, where="--report", hint="make it first: the report is written at the end of the run")
    return kind, path


def write_files(files: Files, texts: Mapping[str, Callable[[], str]]) -> None:
    """Write each file with the text of its kind, or raise `UsageError` if that fails.

    >>> write_files([], {})
    """
    for kind, path in files:
        try:
            path.write_text(texts[kind](), encoding="utf-8")
        except OSError as error:
            what = f"{str(path)!r} cannot be written: {error.strerror}"
            raise UsageError(what, where="--report", hint="give a file that you may write") from None
