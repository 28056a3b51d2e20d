"""The templates that there are."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from engagelab_mock.errors import UnknownName
from engagelab_mock.messages.template import AUDITS, Template
from engagelab_mock.service.store import Store

#: Under which kind they are kept.
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
        """Take a template in that is kept already."""
        self._templates[template.template_id] = template

    def add(self, template: Template) -> None:
        """Take a template in, in the place of the one of that id if there is one, and keep it."""
        self.adopt(template)
        self._store.put(KIND, template.template_id, template)

    def find(self, template_id: str) -> Template | None:
        """Return the template of an id."""
        return self._templates.get(template_id)

    def remove(self, template_id: str) -> bool:
        """Forget a template, and say whether there was one."""
        self._store.delete(KIND, template_id)
        return self._templates.pop(template_id, None) is not None

    def audit(self, template_id: str, status: str, remark: str) -> Template:
        """Set what the audit of a template came to, and return the template."""
        known = self._templates.get(template_id)
        if known is None:
            raise UnknownName("template", template_id, self._templates, where="audit_template")
        if status not in AUDITS:
            raise UnknownName("template status", status, AUDITS, where="audit_template")
        audited = replace(known, status=AUDITS[status], audit_remark=remark)
        self.add(audited)
        return audited

    def clear(self) -> None:
        """Forget every template but those that were there from the beginning."""
        for template_id in list(self._templates):
            self.remove(template_id)
        self._templates = {template.template_id: template for template in self._ready}

    def __iter__(self) -> Iterator[Template]:
        return iter(list(self._templates.values()))

    def __len__(self) -> int:
        return len(self._templates)
