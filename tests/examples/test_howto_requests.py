"""An app that calls EngageLab with `requests` or `httpx`, in process."""

from __future__ import annotations

from typing import Any
from urllib.request import urlopen

import httpx
import pytest
import requests
import responses

from engagelab_mock import EngageLab, Interception, UsageError

# [app]
API = "https://otp.api.engagelab.cc/v1"
CREDENTIALS = ("key", "secret")


class Shop:
    def __init__(self) -> None:
        self.session = requests.Session()
        self.session.auth = CREDENTIALS

    def log_in(self, phone: str) -> str:
        message = {"to": phone, "template": {"id": "shop-login", "language": "en", "params": {}}}
        answer = self.session.post(f"{API}/messages", json=message, timeout=10)
        answer.raise_for_status()
        return str(answer.json()["message_id"])

    def enter(self, message_id: str, code: str) -> bool:
        entered = {"message_id": message_id, "verify_code": code}
        answer: dict[str, Any] = self.session.post(f"{API}/verifications", json=entered, timeout=10).json()
        return bool(answer.get("verified"))


# [tests]
@pytest.fixture
def shop(engagelab_api: Interception) -> Shop:
    return Shop()


def test_a_user_logs_in(shop: Shop, engagelab: EngageLab) -> None:
    message_id = shop.log_in("+6591234567")
    assert shop.enter(message_id, engagelab.inbox("+6591234567").code)
    assert engagelab.journal.statuses == ["plan", "sent", "delivered", "verified"]


def test_a_wrong_code(shop: Shop, engagelab: EngageLab) -> None:
    message_id = shop.log_in("+6591234567")
    assert not shop.enter(message_id, "wrong")
    assert engagelab.journal.statuses[-1] == "verified_failed"


@pytest.mark.engagelab(dev_key="key", dev_secret="another")
def test_wrong_credentials(shop: Shop) -> None:
    with pytest.raises(requests.HTTPError, match="401"):
        shop.log_in("+6591234567")


# [httpx]
async def log_in(phone: str) -> str:
    async with httpx.AsyncClient(base_url=API, auth=CREDENTIALS) as client:
        answer = await client.post("/messages", json={"to": phone, "template": {"id": "shop-login"}})
        return str(answer.raise_for_status().json()["message_id"])


@pytest.mark.asyncio
async def test_an_async_app(engagelab: EngageLab, engagelab_api: Interception) -> None:
    message_id = await log_in("+6591234567")
    message = await engagelab.ainbox("+6591234567")
    assert message.code
    assert [call.response.status_code for call in engagelab_api.calls] == [200]
    assert engagelab.journal.where(message_id=message_id).statuses == ["plan", "sent", "delivered"]


# [other hosts]
@responses.activate
def test_other_services_are_faked_as_ever(shop: Shop, engagelab: EngageLab) -> None:
    responses.get("https://rates.example/usd", json={"sgd": 1.35})

    shop.log_in("+6591234567")

    assert requests.get("https://rates.example/usd", timeout=10).json() == {"sgd": 1.35}
    assert engagelab.inbox("+6591234567").code


# [other clients]
def test_another_client_is_refused(engagelab_api: Interception) -> None:
    with pytest.raises(UsageError, match="engagelab_server"):
        urlopen(f"{API}/template-configs")
