"""Where the examples keep their databases, and what pytest should not collect."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

# Django's models cannot be imported before a project is configured: `test_howto_django.py` runs it as a program.
collect_ignore = ["django_shop"]


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    """Give a directory in memory, if there is one: a disk is slow with the thousand commits of a `check`."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else tmp_path) as directory:
        yield Path(directory)
