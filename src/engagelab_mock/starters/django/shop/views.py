# A safe receiver of EngageLab's callbacks. Its guide is docs/howto/django.md of engagelab-mock.
import json

from django.conf import settings
from django.db import transaction
from django.http import HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST
from engagelab_otp import WebhookSignatureError, WebhookVerifier

from .models import Message, Signature

verifier = WebhookVerifier(settings.ENGAGELAB_USERNAME, settings.ENGAGELAB_SECRET)
# A status only replaces one of lower rank: neither the order of arrival nor a second delivery matters.
RANK = {"plan": 0, "target_valid": 1, "target_invalid": 2, "sent_failed": 3, "sent": 4, "delivered_failed": 5}
RANK |= {"delivered": 6, "verified_timeout": 7, "verified_failed": 8, "verified": 9}


@csrf_exempt
@require_POST
def engagelab_callbacks(request):
    header = request.headers.get("X-CALLBACK-ID", "")
    if request.body in {b"", b"{}"}:
        return HttpResponse()  # the address validation, unsigned in EngageLab's document
    if "," in header or len(header) > 300 or not header.isascii():
        return HttpResponse(status=401)  # two headers, or a signature that verify() cannot compare
    try:
        verifier.verify(header)
    except WebhookSignatureError:
        return HttpResponse(status=401)
    try:
        rows = list(json.loads(request.body)["rows"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return HttpResponse(status=400)
    with transaction.atomic():  # the whole callback, or nothing
        used, _ = Signature.objects.get_or_create(header=header, defaults={"body": request.body})
        if bytes(used.body) != request.body:
            return HttpResponse(status=401)  # a genuine signature under another body: EngageLab does not sign the body
        keep([known for row in rows if (known := status_of(row))])
    return HttpResponse()


def status_of(row):
    """Return a row's message id and status, or None for a row of another kind, or with a status that is not known."""
    match row:
        case {"message_id": str() | int() as message_id, "status": {"message_status": str() as status}}:
            status = "sent_failed" if status == "sent_fail" else status  # how newer documents spell it
            if status in RANK:
                return str(message_id), status


def keep(statuses):
    """Raise the status of each message, with as many queries for a thousand rows as for one."""
    ids = sorted({message_id for message_id, _ in statuses})
    Message.objects.bulk_create([Message(id=message_id) for message_id in ids], ignore_conflicts=True)
    # These rows stay locked until the transaction ends, so that no other callback can come in between.
    messages = Message.objects.select_for_update().in_bulk(ids)
    for message_id, status in statuses:
        message = messages[message_id]
        if RANK[status] > RANK.get(message.status, -1):
            message.status = status
            message.credits += status == "verified"  # a status is only raised to `verified` once
    Message.objects.bulk_update(messages.values(), ["status", "credits"])


urlpatterns = [path("engagelab", engagelab_callbacks)]
