"""The templates of the account."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from engagelab_mock.errors import UnknownName
from engagelab_mock.messages.template import AUDITS, Template
from engagelab_mock.service.store import Store

#: The kind of their records in the store.
KIND = "template"


class Templates:
    """Keep templates by id.

    >>> from engagelab_mock.service.store import MemoryStore
    >>> templates = Templates(MemoryStore())
    >>> templates.add(Template(template_id="login", send_channel_strategy="sms"))
    >>> [template.template_id for template in templates]
    ['login']
    """

    def __init__(self, store: Store, ready: tuple[Template, ...] = ()) -> None:
        self._store = store
        self._ready = ready
        self._templates = {template.template_id: template for template in ready}

    def adopt(self, template: Template) -> None:
        """Add a template that the store has already."""
        self._templates[template.template_id] = template

    def add(self, template: Template) -> None:
        """Add a template, or replace the one with its id, and write it to the store."""
        self.adopt(template)
        self._store.put(KIND, template.template_id, template)

    def find(self, template_id: str) -> Template | None:
        """Return the template with an id, or None."""
        return self._templates.get(template_id)

    def remove(self, template_id: str) -> bool:
        """Remove a template, and return whether there was one."""
        self._store.delete(KIND, template_id)
        return self._templates.pop(template_id, None) is not None

    def audit(self, template_id: str, status: str, remark: str) -> Template:
        """Set the audit status of a template, and return the template."""
        known = self._templates.get(template_id)
        if known is None:
            raise UnknownName("template", template_id, self._templates, where="audit_template")
        if status not in AUDITS:
            raise UnknownName("template status", status, AUDITS, where="audit_template")
        audited = replace(known, status=AUDITS[status], audit_remark=remark)
        self.add(audited)
        return audited

    def clear(self) -> None:
        """Remove every template except those of the sandbox."""
        for template_id in list(self._templates):
            self.remove(template_id)
        self._templates = {template.template_id: template for template in self._ready}

    def __iter__(self) -> Iterator[Template]:
        return iter(list(self._templates.values()))

    def __len__(self) -> int:
        return len(self._templates)
