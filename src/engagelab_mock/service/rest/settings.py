"""How the REST API is set up."""

from __future__ import annotations

from typing import Literal

import msgspec

from engagelab_mock.errors import UnknownName, UsageError
from engagelab_mock.lifecycle.template import AUDITS


class ApiSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Say how the REST API behaves where the documents leave it open, or where a test wants it otherwise.

    >>> ApiSettings(dev_key="key", dev_secret="secret").pinned
    True

    `dev_key` and `dev_secret` are the only pair that is let in; left empty, any pair is. With `strict_templates` an
    unknown template id is refused with 4001. With `callback_before_response` the callbacks go out before the answer.
    Without `rate_limit` the same recipient gets a second code while the first is valid; without `sandbox` there are no
    recipients and templates of the vendor's sandbox. New templates are "approved", or "pending" until `audit_template`.
    """

    dev_key: str = ""
    dev_secret: str = ""
    strict_templates: bool = False
    callback_before_response: bool = False
    rate_limit: bool = True
    sandbox: bool = True
    template_status: Literal["approved", "pending"] = "approved"

    def __post_init__(self) -> None:
        for name in ("dev_key", "dev_secret"):
            if not isinstance(getattr(self, name), str):
                raise UsageError(f"{name} is a string, not {getattr(self, name)!r}", where="ApiSettings")
        if bool(self.dev_key) != bool(self.dev_secret):
            missing = "dev_secret" if self.dev_key else "dev_key"
            raise UsageError(f"{missing} is missing", where="ApiSettings", hint="give both, or neither")
        if ":" in self.dev_key:
            raise UsageError("dev_key cannot hold a ':'", where="ApiSettings", hint="HTTP Basic splits the pair there")
        if self.template_status not in {"approved", "pending"}:
            raise UnknownName("template status", self.template_status, AUDITS, where="template_status")

    @property
    def pinned(self) -> bool:
        """Tell whether one pair of credentials alone is let in."""
        return bool(self.dev_key)
