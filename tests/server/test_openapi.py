"""The OpenAPI document: it is valid, it has every call, and the server behaves accordingly."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from engagelab_mock import CATALOGUE, ERROR_CODES, EngageLab
from engagelab_mock.server import ApiServer
from engagelab_mock.server.control import CONTROL
from engagelab_mock.server.openapi import openapi
from engagelab_mock.service.rest.api import OPERATIONS
from engagelab_mock.service.rest.exchange import ApiSettings
from tests.server.conftest import Talk, message

DOCUMENT = openapi()
CALLS = [(method, path, call) for path, calls in DOCUMENT["paths"].items() for method, call in calls.items()]
OPERATION_CALLS = [entry for entry in CALLS if entry[0] != "parameters"]


def schema(reference: str) -> dict[str, Any]:
    """Return a schema that stands on its own."""
    return {"$ref": f"#/components/schemas/{reference}", "components": DOCUMENT["components"]}


def test_exactly_the_calls_that_are_answered_are_in_the_document() -> None:
    answered = {(each.method, each.path) for each in CONTROL}
    answered |= {(each.method, each.path.replace("template_id", "templateId")) for each in OPERATIONS}
    answered |= {("PUT", "/v1/sandbox/webhook")}
    assert {(method.upper(), path) for method, path, _ in OPERATION_CALLS} == answered


def test_every_reference_leads_somewhere_and_every_schema_is_one() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    text = json.dumps(DOCUMENT)
    for name, each in schemas.items():
        Draft202012Validator.check_schema(each)
        assert f'"#/components/schemas/{name}"' in text, f"{name} is used nowhere"
    for part in text.split('"$ref": "')[1:]:
        assert part.partition('"')[0].removeprefix("#/components/schemas/") in schemas


def test_names_of_operations_are_unique_and_examples_fit_their_schemas() -> None:
    names = [call["operationId"] for _, _, call in OPERATION_CALLS]
    assert len(set(names)) == len(names)
    for _, _, call in OPERATION_CALLS:
        for described in call.get("requestBody", {}).get("content", {}).values():
            if "example" in described:
                whole = {**described["schema"], "components": DOCUMENT["components"]}
                Draft202012Validator(whole).validate(described["example"])


def test_the_document_names_every_error_code_and_scenario() -> None:
    text = json.dumps(DOCUMENT)
    assert [code for code in ERROR_CODES if str(code) not in text] == []
    assert [name for name in CATALOGUE if f'"{name}"' not in text] == []


def test_it_has_the_same_facts_as_before_its_types_were_its_source() -> None:
    """The file has the facts of the last document that was written by hand: none may be lost."""
    expected = (Path(__file__).parent / "openapi_facts.txt").read_text(encoding="utf-8").splitlines()
    said = facts(DOCUMENT)
    assert [fact for fact in expected if fact not in said] == []


def test_everything_that_a_client_can_give_is_described() -> None:
    for _, path, call in OPERATION_CALLS:
        assert call["summary"], path
        assert all(parameter["description"] for parameter in call["parameters"]), path
        assert all(answer["description"] for answer in call["responses"].values()), path
    undescribed = [name for name, each in DOCUMENT["components"]["schemas"].items() if not each.get("description")]
    assert undescribed == []


@pytest.mark.slow
def test_without_docstrings_each_call_has_its_summary() -> None:
    said = "from engagelab_mock.server.openapi import document; print(document().decode())"
    stripped = subprocess.run([sys.executable, "-OO", "-c", said], capture_output=True, text=True, check=True).stdout
    summaries = [call["summary"] for calls in json.loads(stripped)["paths"].values() for call in calls.values()]
    assert summaries == [call["summary"] for _, _, call in OPERATION_CALLS]


def test_only_calls_that_are_guarded_can_answer_401_or_403(talk: Talk, engagelab: EngageLab) -> None:
    unguarded = [path for _, path, call in OPERATION_CALLS if not {"401", "403"} & call["responses"].keys()]
    assert unguarded == ["/_mock/readyz"]
    with ApiServer(engagelab, token="t0ken") as server:
        for _, path, call in OPERATION_CALLS:
            if path.startswith("/_mock") and "{" not in path:
                [method] = [method for method, _, each in OPERATION_CALLS if each is call]
                assert (Talk(server)(method.upper(), path).status == 401) is (path not in unguarded), path


def test_it_is_served_without_credentials(talk: Talk) -> None:
    answer = talk("GET", "/openapi.json", api=False)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    assert answer.json == DOCUMENT


@pytest.mark.parametrize(
    ("method", "path", "body", "name"),
    [
        ("POST", "/v1/messages", message(), "Accepted"),
        ("GET", "/_mock/inbox/+6591234567", None, "Inbox"),
        ("GET", "/_mock/clock", None, "Clock"),
        ("GET", "/_mock/messages", None, "Messages"),
        ("GET", "/_mock/callbacks", None, "Callbacks"),
        ("GET", "/_mock/receivers", None, "Receivers"),
        ("POST", "/_mock/receivers/1/ping", None, "Ping"),
        ("GET", "/_mock/check", None, "CheckRun"),
        ("GET", "/_mock/explorations", None, "Explorations"),
        ("POST", "/_mock/rules", {"scenario": ["plan", "sent"]}, "Rule"),
        ("POST", "/_mock/send", {"to": "+6591234567"}, "Sent"),
        ("POST", "/v1/messages", {}, "Error"),
    ],
)
def test_answers_are_as_described(talk: Talk, method: str, path: str, body: Any, name: str) -> None:
    talk("POST", "/v1/messages", message(template="another"))
    Draft202012Validator(schema(name)).validate(talk(method, path, body).json)


def test_lines_of_the_journal_are_as_described(talk: Talk, engagelab: EngageLab) -> None:
    engagelab.send("+6591234567")
    engagelab.validate_address()
    with pytest.raises(ValueError, match="unknown"):
        engagelab.send(scenario="verfied")
    lines = talk("GET", "/_mock/journal").body.splitlines()
    assert len(lines) == 6
    for line in lines:
        Draft202012Validator(schema("Record")).validate(json.loads(line))


@pytest.mark.slow
def test_it_is_valid_for_an_independent_validator() -> None:
    from openapi_spec_validator import OpenAPIV31SpecValidator  # it takes a while to import

    assert [error.message for error in OpenAPIV31SpecValidator(DOCUMENT).iter_errors()] == []
    del (broken := openapi())["webhooks"]["status"]["post"]["responses"]["200"]["description"]
    assert [*OpenAPIV31SpecValidator(broken).iter_errors()] != []


def facts(document: dict[str, Any]) -> set[str]:
    """Return the facts in a document, one a line. They do not depend on how its schemas are put together."""
    found: set[str] = set()
    schemas = document["components"]["schemas"]
    for name, each in schemas.items():
        found.update(_schema_facts(name, each, schemas))
    for path, method, call in (
        (path, method, call) for path, calls in document["paths"].items() for method, call in calls.items()
    ):
        if method == "parameters":
            continue
        where = f"{method.upper()} {path}"
        security = " or ".join(",".join(each) or "nothing" for each in call["security"])
        found.add(f"{where}: {call['operationId']}, tags {','.join(call['tags'])}, security {security}")
        for parameter in [*document["paths"][path].get("parameters", []), *call.get("parameters", [])]:
            named = f"{where} {parameter['in']} {parameter['name']}"
            found.add(f"{named}: {'required' if parameter['required'] else 'optional'}")
            found.update(_schema_facts(named, parameter["schema"], schemas))
        if "requestBody" in call:
            found.add(f"{where} body: {'required' if call['requestBody']['required'] else 'optional'}")
            found.update(_content_facts(f"{where} body", call["requestBody"], schemas))
        for status, answer in call["responses"].items():
            found.update(_content_facts(f"{where} {status}", answer, schemas))
    return found


def _content_facts(where: str, described: dict[str, Any], schemas: dict[str, Any]) -> Iterator[str]:
    for media_type, content in described["content"].items():
        given = content["schema"]
        reference = given.get("$ref", given.get("items", {}).get("$ref", ""))
        yield f"{where}: {media_type} {'list of ' if 'items' in given else ''}{reference.rpartition('/')[2]}"
        if "example" in content:
            yield f"{where}: example {json.dumps(content['example'], sort_keys=True)}"


def _schema_facts(where: str, schema: dict[str, Any], schemas: dict[str, Any]) -> Iterator[str]:
    kinds: set[str] = set()
    values: set[str] = set()
    for each in _branches(schema, schemas):
        given = [*each.get("enum", []), *([each["const"]] if "const" in each else [])]
        values |= {json.dumps(value) for value in given if value is not None}
        kinds |= {_KINDS[type(value)] for value in given}
        kind = each.get("type", [])
        kinds |= set([kind] if isinstance(kind, str) else kind)
        if each.get("additionalProperties") is False:
            yield f"{where}: nothing else"
        elif isinstance(each.get("additionalProperties"), dict):
            yield from _schema_facts(f"{where}.*", each["additionalProperties"], schemas)
        for name in _LIMITS & set(each):
            if (value := each[name]) is None or isinstance(value, (list, dict)):
                continue  # a default that says that nothing is given
            yield f"{where}: {name} {value if isinstance(value, str) else format(value, 'g')}"
        for name, inner in each.get("properties", {}).items():
            yield from _schema_facts(f"{where}.{name}", inner, schemas)
        for name in each.get("required", []):
            yield f"{where}.{name}: required"
        if "items" in each:
            yield from _schema_facts(f"{where}[]", each["items"], schemas)
    yield f"{where}: {' or '.join(sorted(kinds))}"
    if values:
        yield f"{where}: one of {' '.join(sorted(values))}"


def _branches(schema: dict[str, Any], schemas: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a schema without its alternatives, and each of these."""
    if "$ref" in schema:
        yield from _branches(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    yield schema
    for each in schema.get("anyOf", []):
        yield from _branches(each, schemas)


_KINDS = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}
_LIMITS = {
    *("minimum", "maximum", "exclusiveMinimum", "minLength", "maxLength", "minItems", "maxItems", "pattern", "default"),
}


#: Settings for Schemathesis: EngageLab's API also answers 400 to a well-formed request, such as an unknown id [D].
SETTINGS = """
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "400", "401", "403", "404", "409"]

# That no other method is answered is asked of the server elsewhere.
[phases.coverage]
unexpected-methods = []

[parameters]
"query.follow" = 0
"query.wait" = 0
"""


@pytest.mark.slow
def test_schemathesis_finds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = tmp_path / "schemathesis.toml"
    settings.write_text(SETTINGS)
    # Any pair of credentials would do otherwise, and Schemathesis tries one that should not.
    api = ApiSettings(dev_key="key", dev_secret="secret")
    # Schemathesis also sets receivers at addresses where no server listens.
    with EngageLab(api=api, defaults={"check": False}) as engagelab, ApiServer(engagelab) as server:
        add = engagelab.rule

        def add_and_cancel(**given: Any) -> Any:
            rule = add(**given)
            if rule.error is not None and ERROR_CODES[rule.error].http_status == 500:
                rule.cancel()
            return rule

        # Such a rule would have every later call answered 500, which is what Schemathesis looks for.
        monkeypatch.setattr(engagelab, "rule", add_and_cancel)
        program = shutil.which("schemathesis", path=str(Path(sys.executable).parent))
        assert program is not None
        finished = subprocess.run(
            [
                *(program, "--config-file", str(settings), "--no-color"),
                *("run", f"{server.url}/openapi.json", "--auth", "key:secret", "--max-examples", "2"),
                # Fuzzing would repeat, at random, a few of the hundreds of cases that the coverage phase enumerates.
                *("--phases", "coverage,stateful"),
                *("--generation-deterministic", "--suppress-health-check", "all", "--request-timeout", "5"),
                *("--warnings", "off"),
            ],
            cwd=tmp_path,
            env={**os.environ, "COLUMNS": "200"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert Talk(server)("GET", "/_mock/readyz").status == 200
    assert finished.returncode == 0, finished.stdout[-6000:] + finished.stderr[-2000:]
    assert "No issues found" in finished.stdout
