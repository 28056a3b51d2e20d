"""A Django project of one view, which checks the signature with the standard library alone."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from tests.django_settings import configure

#: What the view received, in order.
statuses: list[str] = []
credentials = {"username": "acme", "secret": "s3cret"}


def genuine(header: str) -> bool:
    """Check an X-CALLBACK-ID header as the vendor's document describes it."""
    parts = dict(part.split("=", 1) for part in header.split(";") if "=" in part)
    signed = parts.get("timestamp", "") + parts.get("nonce", "") + credentials["username"]
    expected = hmac.new(credentials["secret"].encode(), signed.encode(), hashlib.sha256).hexdigest()
    fresh = parts.get("timestamp", "").isdecimal() and abs(time.time() - int(parts["timestamp"])) < 300
    return fresh and hmac.compare_digest(expected.encode(), parts.get("signature", "").encode())


@csrf_exempt
@require_POST
def engagelab(request: HttpRequest) -> HttpResponse:
    if not request.body:
        return HttpResponse()
    if not genuine(request.headers.get("X-CALLBACK-ID", "")):
        return HttpResponse("not signed by EngageLab", status=401)
    statuses.extend(row["status"]["message_status"] for row in json.loads(request.body)["rows"])
    return HttpResponse()


urlpatterns = [path("engagelab/", engagelab)]


@contextmanager
def project(secret: str = "s3cret") -> Iterator[None]:
    """Stand in for a project's settings while the block lasts."""
    from django.test import override_settings

    configure()
    statuses.clear()
    credentials["secret"] = secret
    overridden: dict[str, Any] = {
        "ALLOWED_HOSTS": ["testserver", "127.0.0.1"],
        "ROOT_URLCONF": __name__,
        "MIDDLEWARE": [
            "django.middleware.security.SecurityMiddleware",
            "django.middleware.common.CommonMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
        ],
    }
    with override_settings(**overridden):
        yield
