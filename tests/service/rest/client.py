"""What the tests of the REST API call it with."""

from __future__ import annotations

import base64
import json
from http.client import HTTPConnection
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from engagelab_mock import ApiAnswer, ApiRequest, ApiServer, EngageLab

TO = "+6591234567"
TEMPLATE = "login"


def basic(key: str = "key", secret: str = "secret") -> str:
    return "Basic " + base64.b64encode(f"{key}:{secret}".encode()).decode()


class Said(NamedTuple):
    """What the API answered."""

    status: int
    content: Any

    @property
    def code(self) -> int:
        code: int = self.content["code"]
        return code


def said(answer: ApiAnswer) -> Said:
    answer.written()
    return Said(answer.status, json.loads(answer.body))


def control(server: ApiServer, path: str, content: Any) -> Said:
    """Post to the control API of a server."""
    connection = HTTPConnection(urlsplit(server.url).netloc, timeout=10)
    try:
        connection.request("POST", f"/_mock/{path}", json.dumps(content), {"Content-Type": "application/json"})
        response = connection.getresponse()
        return Said(response.status, json.loads(response.read()))
    finally:
        connection.close()


class Client:
    """Call the API as an app would, and let each answer be written."""

    def __init__(self, engagelab: EngageLab, authorization: str | None = None) -> None:
        self.engagelab = engagelab
        self._authorization = basic() if authorization is None else authorization

    def request(self, method: str, path: str, body: bytes = b"") -> ApiAnswer:
        return self.engagelab.api.handle(ApiRequest(method, path, self._authorization, body))

    def post(self, path: str, content: Any) -> Said:
        return said(self.request("POST", path, json.dumps(content).encode()))

    def get(self, path: str) -> Said:
        return said(self.request("GET", path))

    def delete(self, path: str) -> Said:
        return said(self.request("DELETE", path))

    def send(self, to: str = TO, template: str = TEMPLATE, **more: Any) -> Said:
        params = {key: more.pop(key) for key in ("params", "language") if key in more}
        return self.post("/v1/messages", {"to": to, "template": {"id": template, **params}, **more})

    def sent(self, to: str = TO, template: str = TEMPLATE, **more: Any) -> str:
        """Send a message and return its id."""
        answer = self.send(to, template, **more)
        assert answer.status == 200, answer
        message_id: str = answer.content["message_id"]
        return message_id

    def send_code(self, code: str, to: str = TO, template: str = TEMPLATE) -> Said:
        return self.post("/v1/codes", {"to": to, "code": code, "template": {"id": template}})

    def send_custom(self, to: Any = TO, template: str = TEMPLATE, **params: str) -> Said:
        return self.post("/v1/custom-messages", {"to": to, "template": {"id": template, "params": params}})

    def verify(self, message_id: str, code: str) -> Said:
        return self.post("/v1/verifications", {"message_id": message_id, "verify_code": code})

    def create(self, template_id: str = TEMPLATE, **more: Any) -> Said:
        return self.post("/v1/template-configs", template(template_id, **more))


DEFAULT_CONFIG = {"template_type": 1, "template_default_config": {"contain_security": False, "contain_expire": False}}


def template(template_id: str = TEMPLATE, **more: Any) -> dict[str, Any]:
    """Return the body that creates a template, without the fields that are None."""
    body = {
        "template_id": template_id,
        "send_channel_strategy": "sms",
        "brand_name": "Acme",
        "verify_code_config": {"verify_code_type": 1, "verify_code_len": 6, "verify_code_ttl": 5},
        "sms_config": DEFAULT_CONFIG,
        **more,
    }
    return {key: value for key, value in body.items() if value is not None}


def custom_sms(content: str, subtype: str = "authentication") -> dict[str, Any]:
    return {
        "template_type": 2,
        "template_custom_config": {"custom_sub_type": subtype, "custom_content": content},
    }


def email(*contents: tuple[str, str], **more: Any) -> dict[str, Any]:
    """Return an e-mail's configuration with a content for each (language, content)."""
    return {
        "template_name": "login",
        "template_custom_configs": [
            {
                "language": language,
                "pre_from_mail": "noreply@acme.example",
                "pre_subject": "Your code",
                "template_content": content,
                **more,
            }
            for language, content in contents
        ],
    }
