"""The operations of /v1/template-configs: create, list, get and delete templates."""

from __future__ import annotations

from typing import Any

from msgspec import to_builtins
from msgspec.structs import asdict

from engagelab_mock.messages.template import AUDITS, LANGUAGES, CodeConfig, Template
from engagelab_mock.protocol.status import Channel
from engagelab_mock.service.rest.exchange import ApiError, Fields
from engagelab_mock.service.rest.messages import Call, Content

_SUCCESS: Content = {"code": 0, "message": "success"}
_SUBTYPES = ("authentication", "marketing", "utility")
_CONFIGS = ("whatsapp_config", "sms_config", "voice_config", "email_config", "pwa_config")
#: The fields of a channel's configuration that the list shows [D].
_SUMMARY = ("template_type", "template_name", "template_parts", "pwa_platform", "pwa_code")
#: For how many minutes a code over WhatsApp can be valid [D].
_WHATSAPP_MINUTES = (1, 5, 10)


def create_template(call: Call) -> Content:
    """Create a template."""
    fields, engine = call.fields, call.engine
    template_id = fields.text("template_id", most=128)
    call.rule(template=template_id)
    channels = _channels(fields)
    given = {f"{channel}_config" for channel in channels}
    missing = [name for name in sorted(given) if not fields.has(name)]
    if missing:
        none = len(missing) == len(given)
        raise ApiError(3003, "not contains any channel config" if none else f"not contains {missing[0]}")
    if engine.templates.find(template_id) is not None:
        raise ApiError(3003, "template_id already exist")
    configs: dict[str, Any] = {name: _config(name, fields) for name in _CONFIGS if fields.has(name)}
    template = Template(
        template_id=template_id,
        send_channel_strategy="|".join(channels),
        description=fields.text("description", default="", most=255),
        brand_name=fields.text("brand_name", default="", least=2, most=10),
        verify_code_config=_code_config(fields, channels, configs),
        created_time=int(engine.clock.time()),
        status=AUDITS[engine.api_settings.template_status],
        **configs,
    )
    engine.templates.add(template)
    return _SUCCESS


def list_templates(call: Call) -> Content:
    """List the templates, without their contents."""
    call.rule()
    return [_summary(template) for template in call.engine.templates]


def get_template(call: Call) -> Content:
    """Return a template."""
    call.rule(template=call.resource)
    template = call.engine.templates.find(call.resource)
    if template is None:
        raise ApiError(4001, "config not exist")
    return _shown(template)


def delete_template(call: Call) -> Content:
    """Delete a template."""
    call.rule(template=call.resource)
    if not call.engine.templates.remove(call.resource):
        raise ApiError(4001, "config not exist")
    return _SUCCESS


def _channels(fields: Fields) -> list[str]:
    channels = fields.text("send_channel_strategy").split("|")
    for channel in channels:
        if channel not in list(Channel):
            known = ", ".join(sorted(Channel))
            raise fields.wrong("send_channel_strategy", f"has the unknown channel {channel!r:.40}; channels: {known}")
    if len(set(channels)) != len(channels):
        raise fields.wrong("send_channel_strategy", "has a channel twice")
    if Channel.EMAIL in channels and len(channels) > 1:
        raise fields.wrong("send_channel_strategy", "combines email with other channels")
    return channels


def _config(name: str, fields: Fields) -> dict[str, Any]:
    """Check one channel's configuration, and return it unchanged."""
    config = fields.section(name)
    if name == "email_config":
        _check_email(config)
    elif name == "pwa_config":
        for part in ("pwa_platform", "pwa_code"):
            config.text(part, default="")
    else:
        highest = 2 if name == "sms_config" else 1
        if config.number("template_type", 1, highest) == 1:
            wanted = config.section("template_default_config")
            for flag in ("contain_security", "contain_expire"):
                wanted.flag(flag)
        else:
            _check_custom(config.section("template_custom_config"))
    given: dict[str, Any] = fields.value(name)
    return given


def _check_custom(custom: Fields) -> None:
    subtype = custom.choice("custom_sub_type", _SUBTYPES)
    content = custom.text("custom_content")
    custom.text("custom_country_codes", default="")
    if subtype == "authentication" and "{{code}}" not in content:
        raise custom.wrong("custom_content", "has no {{code}}, which authentication needs")


def _check_email(config: Fields) -> None:
    config.text("template_name")
    if not config.has("template_custom_configs"):
        return
    languages = []
    for content in config.items("template_custom_configs"):
        languages.append(content.choice("language", LANGUAGES))
        for part in ("pre_from_mail", "pre_subject", "template_content"):
            content.text(part)
        content.text("pre_from_name", default="")
        content.texts("pre_param_map")
    if len(set(languages)) != len(languages):
        raise config.wrong("template_custom_configs", "has a language twice")


def _code_config(fields: Fields, channels: list[str], configs: dict[str, Any]) -> CodeConfig | None:
    if not fields.has("verify_code_config"):
        if any(_has_code(configs[f"{channel}_config"], channel) for channel in channels):
            raise fields.wrong("verify_code_config", "is required, as the template contains a code")
        return None
    given = fields.section("verify_code_config")
    config = CodeConfig(
        verify_code_type=given.number("verify_code_type", 1, 7),
        verify_code_len=given.number("verify_code_len", 4, 10),
        verify_code_ttl=given.number("verify_code_ttl", 1, 10),
    )
    if Channel.WHATSAPP in channels and config.verify_code_ttl not in _WHATSAPP_MINUTES:
        raise given.wrong("verify_code_ttl", f"is {config.verify_code_ttl}, and with whatsapp must be 1, 5 or 10")
    return config


def _has_code(config: dict[str, Any], channel: str) -> bool:
    """Tell whether the channel's messages contain a code."""
    if channel == Channel.EMAIL:
        contents = config.get("template_custom_configs") or []
        return any("{{code}}" in content["template_content"] for content in contents)
    if config["template_type"] == 1:
        return True
    return bool(config["template_custom_config"]["custom_sub_type"] == "authentication")


def _shown(template: Template) -> dict[str, Any]:
    shown: dict[str, Any] = {name: value for name, value in asdict(template).items() if value is not None}
    if template.verify_code_config is not None:
        shown["verify_code_config"] = to_builtins(template.verify_code_config)
    if template.sms_config is not None:
        shown["sms_config"] = {**template.sms_config, "template_parts": _parts(template.sms_config)}
    return shown


def _summary(template: Template) -> dict[str, Any]:
    shown = _shown(template)
    for name in _CONFIGS:
        if name in shown:
            shown[name] = {key: value for key, value in shown[name].items() if key in _SUMMARY}
    return shown


def _parts(config: dict[str, Any]) -> int:
    """Return how many parts an SMS is billed as [D]; the count is inferred from the size limits of an SMS [?]."""
    custom = config.get("template_custom_config") if config.get("template_type") == 2 else None
    content = str((custom or {}).get("custom_content", ""))
    alone, joined = (160, 153) if content.isascii() else (70, 67)
    return 1 if len(content) <= alone else -(-len(content) // joined)
