"""The callbacks in the OpenAPI and AsyncAPI documents: they are described as they are sent."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator, Draft202012Validator

from engagelab_mock import EngageLab, Receiver, Recorder
from engagelab_mock.protocol.events import KINDS
from engagelab_mock.server import asyncapi
from engagelab_mock.server.openapi import openapi
from tests.runtimes import npm_install
from tests.server.conftest import Talk

OPENAPI = openapi()
ASYNCAPI: dict[str, Any] = json.loads(asyncapi.document())
#: The schema of each kind of body, by document and kind.
BODIES = {
    ("openapi", kind): (each["post"]["requestBody"]["content"]["application/json"]["schema"], OPENAPI)
    for kind, each in OPENAPI["webhooks"].items()
} | {
    ("asyncapi", name): (each["payload"], ASYNCAPI)
    for name, each in ASYNCAPI["components"]["messages"].items()
    if name != "acknowledged"
}
CASES = [*KINDS, "address_validation"]


def judge(document: str, kind: str) -> Draft202012Validator:
    """Return the validator of a kind of body."""
    schema, whole = BODIES[document, kind]
    return Draft202012Validator({**schema, "components": whole["components"]})


def sent() -> dict[str, Any]:
    """Return a body of each kind as it is sent."""
    recorder = Recorder()
    with EngageLab(Receiver.wsgi(recorder)) as engagelab:
        engagelab.send("+6591234567", scenario="sent_failed")
        engagelab.notify("insufficient_balance")
        engagelab.uplink("+6591234567", body="STOP")
        engagelab.system_event("account_login")
    bodies = [json.loads(each.body) for each in recorder.received]
    return {next(kind for kind in KINDS if kind in body["rows"][0]): body for body in bodies}


def test_each_kind_of_callback_is_a_webhook_and_a_message() -> None:
    assert sorted(BODIES) == sorted((document, kind) for document in ("openapi", "asyncapi") for kind in CASES)
    operations = [each["messages"][0]["$ref"].rpartition("/")[2] for each in ASYNCAPI["operations"].values()]
    assert operations == CASES


@pytest.mark.parametrize("document", ["openapi", "asyncapi"])
def test_a_callback_is_valid_for_its_kind_alone(document: str) -> None:
    bodies = sent()
    assert sorted(bodies) == sorted(KINDS)
    for kind in KINDS:
        valid = [name for name, body in bodies.items() if judge(document, kind).is_valid(body)]
        assert valid == [kind]
    mixed = {"total": 4, "rows": [row for body in bodies.values() for row in body["rows"]]}
    assert all(judge(document, kind).is_valid(mixed) for kind in KINDS)
    assert judge(document, "address_validation").is_valid({})


def test_the_examples_are_valid() -> None:
    for kind in CASES:
        content = OPENAPI["webhooks"][kind]["post"]["requestBody"]["content"]["application/json"]
        judge("openapi", kind).validate(content["example"])
        [example] = ASYNCAPI["components"]["messages"][kind]["examples"]
        judge("asyncapi", kind).validate(example["payload"])


@pytest.mark.parametrize("kind", CASES)
def test_the_headers_and_the_answer_are_described(kind: str) -> None:
    call = OPENAPI["webhooks"][kind]["post"]
    assert [(each["name"], each["in"], each["required"]) for each in call["parameters"]] == [
        ("X-CALLBACK-ID", "header", False)
    ]
    schemes = OPENAPI["components"]["securitySchemes"]
    [scheme] = [schemes[name] for each in call["security"] for name in each]
    assert (scheme["in"], scheme["name"]) == ("header", "Authorization")
    assert "within 3 seconds" in call["responses"]["200"]["description"]
    assert "inferred [?]" in call["responses"]["200"]["description"]
    assert [*call["responses"]] == ["200", "default"]
    assert ASYNCAPI["operations"][f"send_{kind}"]["reply"]["channel"] == {"$ref": "#/channels/answers"}
    assert ASYNCAPI["components"]["messages"]["acknowledged"]["bindings"]["http"]["statusCode"] == 200


def test_every_reference_of_the_asyncapi_document_leads_somewhere() -> None:
    text = json.dumps(ASYNCAPI)
    for reference in {part.partition('"')[0] for part in text.split('"$ref": "#/')[1:]}:
        place: Any = ASYNCAPI
        for name in reference.split("/"):
            place = place[name]
    for name, schema in ASYNCAPI["components"]["schemas"].items():
        Draft202012Validator.check_schema(schema)
        assert f'"#/components/schemas/{name}"' in text, f"{name} is used nowhere"


def test_it_is_served_without_credentials(talk: Talk) -> None:
    answer = talk("GET", "/asyncapi.json", api=False)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    assert answer.json == ASYNCAPI


@pytest.mark.slow
def test_asyncapis_own_schema_accepts_the_document(tmp_path: Path) -> None:
    folder = npm_install(tmp_path, "@asyncapi/specs")
    file = folder / "node_modules" / "@asyncapi" / "specs" / "schemas" / "3.0.0.json"
    validator = Draft7Validator(json.loads(file.read_text(encoding="utf-8")))
    assert [error.message for error in validator.iter_errors(ASYNCAPI)] == []
    broken = json.loads(asyncapi.document())
    broken["operations"]["send_status"]["action"] = "push"
    assert [*validator.iter_errors(broken)] != []


STRICT = ("--strict", "--noEmit", "--target", "es2022")
#: A program that uses the types. The compiler must refuse it with a status that is a number.
_PROGRAM = """
import type { webhooks } from "./openapi";
type Body = webhooks["status"]["post"]["requestBody"]["content"]["application/json"];
export function statuses(body: Body): string[] {
  return body.rows.flatMap((row) => ("status" in row ? [row.status.message_status] : []));
}
"""


@pytest.mark.slow
def test_openapi_typescript_makes_types_that_compile(tmp_path: Path) -> None:
    folder = npm_install(tmp_path, "openapi-typescript", "typescript@5")
    (folder / "openapi.json").write_text(json.dumps(OPENAPI), encoding="utf-8")
    (folder / "right.ts").write_text(_PROGRAM, encoding="utf-8")
    (folder / "wrong.ts").write_text(_PROGRAM.replace("): string[]", "): number[]"), encoding="utf-8")
    programs = folder / "node_modules" / ".bin"

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        words = [str(programs / command[0]), *command[1:]]
        return subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=120, check=False)

    made = run("openapi-typescript", "openapi.json", "-o", "openapi.d.ts")
    assert made.returncode == 0, made.stderr
    compiled = run("tsc", *STRICT, "right.ts")
    assert compiled.returncode == 0, compiled.stdout
    assert "not assignable to type 'number[]'" in run("tsc", *STRICT, "wrong.ts").stdout
