"""What every operation in the document is made of."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


def ref(name: str) -> Json:
    """Refer to a schema by its name.

    >>> ref("Error")
    {'$ref': '#/components/schemas/Error'}
    """
    return {"$ref": f"#/components/schemas/{name}"}


def strict(properties: Json, *required: str, description: str = "") -> Json:
    """Describe an object that has these properties and no others.

    >>> strict({"code": {"type": "integer"}}, "code")["required"]
    ['code']
    """
    schema: Json = {"type": "object", "properties": properties, "additionalProperties": False}
    if required:
        schema["required"] = list(required)
    if description:
        schema["description"] = description
    return schema


def opened(properties: Json, *required: str, description: str = "") -> Json:
    """Describe an object that has these properties, and may have others.

    >>> "additionalProperties" in opened({})
    False
    """
    schema = strict(properties, *required, description=description)
    del schema["additionalProperties"]
    return schema


def nullable(kind: str, **more: Any) -> Json:
    """Describe a value that can be null.

    >>> nullable("string")
    {'type': ['string', 'null']}
    """
    return {"type": [kind, "null"], **more}


def optional(schema: Json, *, empty: bool = False) -> Json:
    """Describe a field that can be null, which counts as left out; `empty` says whether an empty string does, too.

    >>> optional({"type": "boolean"})
    {'anyOf': [{'type': 'boolean'}, {'enum': [None]}]}
    """
    return {"anyOf": [schema, {"enum": [None, ""] if empty else [None]}]}


def content(schema: Json, media_type: str = "application/json") -> Json:
    """Describe a body."""
    return {media_type: {"schema": schema}}


def answers(description: str, schema: Json, status: int = 200, media_type: str = "application/json") -> Json:
    """Describe the answer to a call that is accepted."""
    return {str(status): {"description": description, "content": content(schema, media_type)}}


def errors(**descriptions: str) -> Json:
    """Describe error objects by HTTP status, each written as `http_400`.

    >>> list(errors(http_400="bad parameters"))
    ['400']
    """
    return {
        name.removeprefix("http_"): {"description": text, "content": content(ref("Error"))}
        for name, text in descriptions.items()
    }


def body(schema: Json, *, required: bool = True, example: Any = None) -> Json:
    """Describe a request's body."""
    described = content(schema)
    if example is not None:
        described["application/json"]["example"] = example
    return {"required": required, "content": described}
