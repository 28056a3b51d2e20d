"""Templates: their codes, their channels, and the text for the recipient."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from engagelab_mock.generate import Generator
from engagelab_mock.messages.message import is_email
from engagelab_mock.protocol.status import Channel

#: The languages of the content [D].
LANGUAGES = ("default", "zh_CN", "zh_HK", "en", "ja", "th", "es")
#: The meanings of a template's status [D].
PENDING, APPROVED, REJECTED = 1, 2, 3
AUDITS = {"pending": PENDING, "approved": APPROVED, "rejected": REJECTED}

_VARIABLE = re.compile(r"\{\{(\w+)\}\}")
#: The characters of codes, by the bits of `verify_code_type` [D].
_ALPHABETS = {1: "0123456789", 2: "abcdefghijklmnopqrstuvwxyz", 4: "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}
#: The text of the built-in contents, which no document prints [?].
_CODE = "Your verification code is {{code}}."
_SECURITY = " Do not share it with anyone."
_EXPIRY = " It expires in {{ttl}} minutes."


class CodeConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Hold the form of a template's codes: the characters, the length, and the validity in minutes.

    >>> CodeConfig(verify_code_type=3).alphabet
    '0123456789abcdefghijklmnopqrstuvwxyz'
    """

    #: A bitmask: 1 digits, 2 lower case, 4 upper case.
    verify_code_type: int = 1
    verify_code_len: int = 6
    verify_code_ttl: int = 5

    @property
    def alphabet(self) -> str:
        """Return the characters of a code."""
        return "".join(characters for bit, characters in _ALPHABETS.items() if self.verify_code_type & bit)

    def draw(self, generate: Generator) -> str:
        """Return a new code.

        >>> len(CodeConfig(verify_code_len=8).draw(Generator.seeded(0)))
        8
        """
        return "".join(generate.random.choices(self.alphabet, k=self.verify_code_len))


class Rendered(msgspec.Struct, frozen=True):
    """Hold the text for a recipient; `subject` and `sender` are for e-mail."""

    text: str
    subject: str = ""
    sender: str = ""


class Template(msgspec.Struct, frozen=True, kw_only=True):
    """Hold a template as it was created; `created_time` is in Unix seconds, `status` 1 pending, 2 approved, 3 rejected.

    >>> Template(template_id="login", send_channel_strategy="whatsapp|sms").channels
    ('whatsapp', 'sms')
    """

    template_id: str
    send_channel_strategy: str
    description: str = ""
    brand_name: str = ""
    verify_code_config: CodeConfig | None = None
    whatsapp_config: dict[str, Any] | None = None
    sms_config: dict[str, Any] | None = None
    voice_config: dict[str, Any] | None = None
    email_config: dict[str, Any] | None = None
    pwa_config: dict[str, Any] | None = None
    created_time: int = 0
    status: int = APPROVED
    audit_remark: str = ""

    @property
    def channels(self) -> tuple[str, ...]:
        """Return the channels in the order in which they are tried."""
        return tuple(self.send_channel_strategy.split("|"))

    def channels_to(self, to: str) -> tuple[str, ...]:
        """Return the channels that can reach a recipient.

        >>> Template(template_id="login", send_channel_strategy="sms").channels_to("user@example.com")
        ()
        """
        return tuple(channel for channel in self.channels if (channel == Channel.EMAIL) == is_email(to))

    def render(self, channel: str, language: str, code: str, params: Mapping[str, str]) -> Rendered:
        """Return the text for a channel; a variable without a value is unchanged [D].

        >>> sms = {"template_type": 2, "template_custom_config": {"custom_content": "{{name}}: {{code}} {{x}}"}}
        >>> template = Template(template_id="login", send_channel_strategy="sms", sms_config=sms)
        >>> template.render("sms", "default", "1234", {"name": "Ann"}).text
        'Ann: 1234 {{x}}'
        """
        values = {**params, **self._presets(code)}
        if channel == Channel.EMAIL:
            return self._render_email(language, values)
        return Rendered(fill(self._content(channel), values))

    def _presets(self, code: str) -> dict[str, str]:
        """Return the values that the service fills in itself [D]; the address of a PWA is invented [?]."""
        presets = {"brand_name": self.brand_name}
        if code:
            presets["code"] = code
        if self.verify_code_config is not None:
            presets["ttl"] = str(self.verify_code_config.verify_code_ttl)
        if self.pwa_config is not None:
            presets["pwa_url"] = f"https://pwa.example/{self.pwa_config.get('pwa_code', '')}"
        return presets

    def _content(self, channel: str) -> str:
        config: dict[str, Any] = getattr(self, f"{channel}_config") or {}
        custom = config.get("template_custom_config")
        if config.get("template_type") == 2 and isinstance(custom, dict):
            return str(custom.get("custom_content", ""))
        default = config.get("template_default_config")
        wanted = default if isinstance(default, dict) else {}
        brand = "[{{brand_name}}] " if self.brand_name else ""
        security = _SECURITY if wanted.get("contain_security") else ""
        return brand + _CODE + security + (_EXPIRY if wanted.get("contain_expire") else "")

    def _render_email(self, language: str, values: Mapping[str, str]) -> Rendered:
        contents = (self.email_config or {}).get("template_custom_configs") or []
        chosen = [content for content in contents if content["language"] == language]
        usual = [content for content in contents if content["language"] == "default"]
        if not contents:
            return Rendered(fill(self._content(Channel.EMAIL), values), subject=self.brand_name)
        content = (chosen or usual or contents)[0]
        filled = {**(content.get("pre_param_map") or {}), **values}
        name, address = content.get("pre_from_name") or "", content["pre_from_mail"]
        return Rendered(
            text=fill(content["template_content"], filled),
            subject=fill(content["pre_subject"], filled),
            sender=f"{name} <{address}>" if name else address,
        )


def fill(content: str, values: Mapping[str, str]) -> str:
    """Replace `{{variables}}` with their values; variables without a value are unchanged.

    >>> fill("{{greeting}} {{name}}", {"greeting": "Hello"})
    'Hello {{name}}'
    """
    return _VARIABLE.sub(lambda found: values.get(found[1], found[0]), content)
