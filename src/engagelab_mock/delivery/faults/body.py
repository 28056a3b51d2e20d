"""Faults of the body: its content and its encoding."""

from __future__ import annotations

from functools import partial
from typing import Any

from engagelab_mock.delivery.faults.fault import Count, Draft, Fault, Name

_BOM = b"\xef\xbb\xbf"


def _tampered(draft: Draft, to: Name) -> None:
    for row in draft.rows:
        if "to" in row:
            row["to"] = to
        else:
            row["itime"] = row.get("itime", 0) + 1


def _wrong_total(draft: Draft, off_by: Count) -> None:
    draft.total += off_by


def _null_section(draft: Draft, kind: Name) -> None:
    _insert(draft, kind, None)


def _unknown_status(draft: Draft, status: Name) -> None:
    for row in draft.rows:
        if isinstance(row.get("status"), dict):
            row["status"]["message_status"] = status


def _unknown_kind(draft: Draft, kind: Name) -> None:
    _insert(draft, kind, {"event": "unheard_of"})


def _unknown_fields(draft: Draft, field: Name) -> None:
    def add(value: Any) -> None:
        if isinstance(value, dict):
            for inner in list(value.values()):
                add(inner)
            value[field] = "unheard of"

    for row in draft.rows:
        add(row)


def _numbers_for_strings(draft: Draft) -> None:
    def change(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: change(inner) for key, inner in value.items()}
        return int(value) if isinstance(value, str) and _is_number(value) else value

    draft.rows = [change(row) for row in draft.rows]


def _documentation_typos(draft: Draft) -> None:
    """Write rows as the document prints them: a 9-digit msg_time, a key with a plus sign, a broken template key [S]."""
    for row in draft.rows:
        data = (row.get("status") or {}).get("status_data")
        if data is not None:
            data["msg_time"] //= 10
            key = str(data["template_key"])
            data["template_key"] = f"{key[:-3]}\n\n{key[-3:]}"
            data["+ business_id"] = data.pop("business_id")


def _truncated_json(draft: Draft) -> None:
    draft.body = draft.body[: draft.random.randrange(1, max(2, len(draft.body)))]


def _bom(draft: Draft) -> None:
    draft.body = _BOM + draft.body


def _nan(draft: Draft) -> None:
    draft.body = draft.body.replace(b'"total":', b'"rate":NaN,"total":', 1)


def _huge(draft: Draft, size: Count) -> None:
    padding = b"x" * max(0, size - len(draft.body))
    draft.body = draft.body[:-1] + b',"padding":"' + padding + b'"}'


def _deep(draft: Draft, depth: Count) -> None:
    draft.body = draft.body[:-1] + b',"deep":' + b"[" * depth + b"]" * depth + b"}"


def _duplicate_keys(draft: Draft) -> None:
    draft.body = draft.body.replace(b"{", b'{"rows":[],', 1)


def _insert(draft: Draft, kind: str, section: Any) -> None:
    draft.rows.insert(0, {"server": "otp", "itime": draft.timestamp, kind: section})
    draft.total += 1


def _is_number(text: str) -> bool:
    # Ids have up to 19 digits and fit into a 64-bit integer; a longer number is not an id.
    return text.isascii() and text.isdecimal() and len(text) < 20 and int(text) < 1 << 63


_ROWS = partial(Fault, family="body", stage="rows")
_BODY = partial(Fault, family="body", stage="body")

BODY_FAULTS = (
    _ROWS(
        name="tampered_body",
        description="another recipient under the genuine signature: the body is not signed",
        work=_tampered,
        options={"to": "+19999999999"},
    ),
    _ROWS(
        name="wrong_total",
        description="a `total` that is not the number of rows",
        work=_wrong_total,
        options={"off_by": 1},
    ),
    _ROWS(
        name="null_section",
        description="a row before the others whose section is null",
        work=_null_section,
        options={"kind": "notification"},
    ),
    _ROWS(
        name="unknown_status",
        description="an unknown status",
        work=_unknown_status,
        options={"status": "queued_x"},
    ),
    _ROWS(
        name="unknown_kind",
        description="a row of an unknown kind before the others",
        work=_unknown_kind,
        options={"kind": "survey"},
    ),
    _ROWS(
        name="unknown_fields",
        description="a new field at every level",
        work=_unknown_fields,
        options={"field": "new_field"},
    ),
    _ROWS(
        name="numbers_for_strings",
        description="ids as JSON numbers",
        work=_numbers_for_strings,
    ),
    _ROWS(
        name="documentation_typos",
        description="the misprints of the document's own example [S]",
        work=_documentation_typos,
    ),
    _BODY(
        name="truncated_json",
        description="the body ends somewhere in the middle, and its length says so",
        work=_truncated_json,
    ),
    _BODY(
        name="bom",
        description="a UTF-8 byte order mark before the JSON",
        work=_bom,
    ),
    _BODY(
        name="nan",
        description="a field that is `NaN`, which JSON does not have",
        work=_nan,
    ),
    _BODY(
        name="huge_body",
        description="a body padded to a megabyte or more",
        work=_huge,
        options={"size": 1 << 20},
    ),
    _BODY(
        name="deep_body",
        description="lists inside lists, deeper than parsers recurse",
        work=_deep,
        options={"depth": 100_000},
    ),
    _BODY(
        name="duplicate_keys",
        description="the key `rows` twice, the first time empty",
        work=_duplicate_keys,
    ),
)
