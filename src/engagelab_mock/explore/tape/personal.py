"""Find personal data and secrets on a tape, without showing them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from engagelab_mock.explore.tape.file import TapeEntry, sanitised
from engagelab_mock.explore.tape.sanitise import DROPPED, Sanitiser
from engagelab_mock.messages.message import is_email

#: The greatest length of a header, path or key in a finding.
_SHOWN = 60


def personal_data(entry: TapeEntry) -> list[str]:
    """Return the places that sanitising would change, each with the kind of its data.

    >>> entry = TapeEntry(at=0.0, method="POST", path="/", headers=(("Cookie", "id=7"),), body='{"to": "+6591234567"}')
    >>> personal_data(entry)
    ['header Cookie: a secret', 'body.to: a phone number']
    """
    # With a random key, a pseudonym never equals a real number.
    clean = sanitised(entry, Sanitiser())
    found = [] if clean.path == entry.path else ["path: a query, or a part that may be personal"]
    for (name, value), (_, kept) in zip(entry.headers, clean.headers, strict=True):
        if value != kept:
            found.append(f"header {name:.{_SHOWN}}: {_kind(value, kept if name.lower() == 'user-agent' else DROPPED)}")
    content = entry.content
    if content is not None and clean.body is None:
        found.append("body: data that is not JSON, which cannot be sanitised")
    elif content and clean.body:
        found += _changes(json.loads(content), json.loads(clean.body), "body")
    return found


def _changes(value: Any, kept: Any, where: str) -> Iterator[str]:
    """Yield the places at which two values of the same shape differ."""
    if value == kept and type(value) is type(kept):
        return
    if isinstance(value, dict) and isinstance(kept, dict):
        if list(value) != list(kept):
            yield f"{where}: a key that may be personal"
            return
        for key, inner in value.items():
            yield from _changes(inner, kept[key], f"{where}.{key:.{_SHOWN}}")
    elif isinstance(value, list) and isinstance(kept, list):
        for number, (inner, other) in enumerate(zip(value, kept, strict=True)):
            yield from _changes(inner, other, f"{where}[{number}]")
    else:
        yield f"{where}: {_kind(value, kept)}"


def _kind(value: Any, kept: Any) -> str:
    """Return the kind of a value by its replacement."""
    if kept == DROPPED:
        return "a secret"
    if isinstance(value, (int, float)):
        return "a number that may identify a person"
    if is_email(str(kept)):
        return "an e-mail address"
    if str(kept).lstrip("+").isdecimal():
        return "a phone number"
    if re.fullmatch(r"[0-9a-f.:]+", str(kept)):
        return "an IP address"
    return "a text that may be personal"
