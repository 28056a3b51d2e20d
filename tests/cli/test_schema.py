"""`schema` prints the documents that the server serves and the package ships."""

from __future__ import annotations

import json

import pytest

from engagelab_mock import callback_schema
from engagelab_mock.cli import main
from engagelab_mock.cli.schema import DOCUMENTS
from engagelab_mock.protocol.events import KINDS


def test_it_prints_the_schema_of_a_callback(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == callback_schema()


def test_it_lists_its_documents_and_prints_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "--list", "--format", "json"]) == 0
    listed = [json.loads(line)["name"] for line in capsys.readouterr().out.splitlines()]
    assert listed == ["callback", *KINDS, "openapi", "asyncapi"]
    assert main(["schema", "--list"]) == 0
    said = capsys.readouterr().out
    assert [text for text in DOCUMENTS.values() if text not in said] == []
    for name in listed:
        assert main(["schema", name]) == 0
        lines = capsys.readouterr().out
        assert main(["schema", name, "--format", "json"]) == 0
        [line] = capsys.readouterr().out.splitlines()
        assert json.loads(line) == json.loads(lines)


def test_a_misspelt_name_gets_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "asynapi"]) == 2
    assert "did you mean 'asyncapi'" in capsys.readouterr().err
