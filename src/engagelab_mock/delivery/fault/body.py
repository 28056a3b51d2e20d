"""Faults of the body: what it says, and how it is written."""

from __future__ import annotations

import gzip
from typing import Any

from engagelab_mock.delivery.fault.model import Draft, Fault

_BOM = b"\xef\xbb\xbf"


def _tampered(draft: Draft, to: str) -> None:
    for row in draft.rows:
        if "to" in row:
            row["to"] = to
        else:
            row["itime"] = row.get("itime", 0) + 1


def _wrong_total(draft: Draft, total: Any) -> None:
    draft.total = total


def _null_section(draft: Draft, kind: str) -> None:
    draft.rows.insert(0, {"server": "otp", "itime": draft.timestamp, kind: None})


def _unknown_status(draft: Draft, status: str) -> None:
    for row in draft.rows:
        if isinstance(row.get("status"), dict):
            row["status"]["message_status"] = status


def _unknown_kind(draft: Draft, kind: str) -> None:
    draft.rows.insert(0, {"server": "otp", "itime": draft.timestamp, kind: {"event": "unheard_of"}})


def _unknown_fields(draft: Draft, name: str) -> None:
    def add(value: Any) -> None:
        if isinstance(value, dict):
            for inner in list(value.values()):
                add(inner)
            value[name] = "unheard of"

    for row in draft.rows:
        add(row)


def _numbers_for_strings(draft: Draft) -> None:
    def change(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: change(inner) for key, inner in value.items()}
        return int(value) if isinstance(value, str) and value.isdecimal() else value

    draft.rows = [change(row) for row in draft.rows]


def _documentation_typos(draft: Draft) -> None:
    """Print what the document prints: a 9-digit msg_time, a key with a plus sign, a broken template key [S]."""
    for row in draft.rows:
        data = (row.get("status") or {}).get("status_data")
        if data is not None:
            data["msg_time"] //= 10
            key = data["template_key"]
            data["template_key"] = f"{key[:-3]}\n\n{key[-3:]}"
            data["+ business_id"] = data.pop("business_id")


def _truncated_json(draft: Draft) -> None:
    draft.body = draft.body[: draft.random.randrange(1, max(2, len(draft.body)))]


def _bom(draft: Draft) -> None:
    draft.body = _BOM + draft.body


def _nan(draft: Draft) -> None:
    draft.body = draft.body.replace(b'"total":', b'"rate":NaN,"total":', 1)


def _huge(draft: Draft, size: int) -> None:
    padding = b"x" * max(0, size - len(draft.body))
    draft.body = draft.body[:-1] + b',"padding":"' + padding + b'"}'


def _deep(draft: Draft, depth: int) -> None:
    draft.body = draft.body[:-1] + b',"deep":' + b"[" * depth + b"]" * depth + b"}"


def _duplicate_keys(draft: Draft) -> None:
    draft.body = b'{"rows":[],' + draft.body[1:]


def _gzip(draft: Draft) -> None:
    draft.body = gzip.compress(draft.body, mtime=0)
    draft.headers.append(("Content-Encoding", "gzip"))


BODY_FAULTS = (
    Fault(
        "tampered_body",
        "body",
        "rows",
        "another recipient under the genuine signature: the body is not signed",
        _tampered,
        {"to": "+19999999999"},
    ),
    Fault("wrong_total", "body", "rows", "a total that is not the number of rows", _wrong_total, {"total": 5}),
    Fault(
        "null_section",
        "body",
        "rows",
        "a row before the others whose section is null",
        _null_section,
        {"kind": "notification"},
    ),
    Fault("unknown_status", "body", "rows", "a status nobody has heard of", _unknown_status, {"status": "queued_x"}),
    Fault(
        "unknown_kind",
        "body",
        "rows",
        "a row before the others of a kind nobody has heard of",
        _unknown_kind,
        {"kind": "survey"},
    ),
    Fault("unknown_fields", "body", "rows", "a new field at every level", _unknown_fields, {"name": "new_field"}),
    Fault("numbers_for_strings", "body", "rows", "ids as JSON numbers", _numbers_for_strings),
    Fault(
        "documentation_typos", "body", "rows", "the misprints of the document's own example [S]", _documentation_typos
    ),
    Fault("truncated_json", "body", "body", "the body ends somewhere in the middle", _truncated_json),
    Fault("bom", "body", "body", "a UTF-8 byte order mark before the JSON", _bom),
    Fault("nan", "body", "body", "NaN where JSON has none", _nan),
    Fault("huge_body", "body", "body", "a body of a megabyte or more", _huge, {"size": 1 << 20}),
    Fault("deep_body", "body", "body", "lists inside lists, deeper than parsers recurse", _deep, {"depth": 100_000}),
    Fault("duplicate_keys", "body", "body", "the key rows twice, the first time empty", _duplicate_keys),
    Fault("gzip", "wire", "headers", "a gzip-compressed body, announced as such", _gzip),
)
