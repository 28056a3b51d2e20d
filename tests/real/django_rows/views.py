"""A synchronous and an asynchronous view that write a row for each callback."""

from __future__ import annotations

from uuid import uuid4

from django.contrib.auth.models import Group
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt


@csrf_exempt
def plain(request: HttpRequest) -> HttpResponse:
    Group.objects.create(name=str(uuid4()))
    return HttpResponse()


@csrf_exempt
async def awaiting(request: HttpRequest) -> HttpResponse:
    await Group.objects.acreate(name=str(uuid4()))
    return HttpResponse()


urlpatterns = [path("plain", plain), path("awaiting", awaiting)]
