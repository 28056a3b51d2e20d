"""The documents' example bodies, key for key in their order.

The document of 2023-03-07 has three slips in its first body: a `msg_time` of nine digits, a key printed
"+ business_id", and a template key broken over two lines. They are put right here.
"""

from __future__ import annotations

STATUS_BODY = """
{
    "total": 2,
    "rows": [{
        "message_id": "1742442805608914944",
        "to": "+8615989574757",
        "server": "otp",
        "channel": "otp",
        "itime": 1704265712,
        "status": {
            "message_status": "plan",
            "status_data": {
                "msg_time": 1704265712,
                "message_id": "1742442805608914944",
                "current_send_channel": "",
                "template_key": "auto_create_templateu25az170295320745",
                "business_id": "100917676394736"
            },
            "error_code": 0
        }
    }, {
        "message_id": "1742442805608914944",
        "to": "+8615989574757",
        "server": "otp",
        "channel": "otp",
        "itime": 1704265712,
        "status": {
            "message_status": "sent_failed",
            "status_data": {
                "msg_time": 1704265712,
                "message_id": "1742442805608914944",
                "current_send_channel": "whatsapp",
                "template_key": "auto_create_templateu25az170295320745",
                "business_id": "100917676394736"
            },
            "error_code": 5001,
            "error_detail": {
                "message": "sender config is invalid"
            }
        }
    }]
}
"""

NOTIFICATION_BODY = """
{
    "total": 1,
    "rows": [{
        "server": "otp",
        "itime": 1712458844,
        "notification": {
            "event": "insufficient_balance",
            "notification_data": {
                "business_id": "1744569418236633088",
                "remain_balance": -0.005,
                "balance_threshold": 2
            }
        }
    }]
}
"""

# The two kinds that only the newer pages describe: the fields they name, with values of the described form.
RESPONSE_BODY = """
{
    "total": 1,
    "rows": [{
        "server": "otp",
        "itime": 1712458844,
        "message_id": "0",
        "business_id": "0",
        "response": {
            "event": "uplink_message",
            "response_data": {
                "message_sid": "SM1234567890",
                "account_sid": "AC1234567890",
                "from": "+447700900123",
                "to": "+447700900456",
                "body": "STOP"
            }
        }
    }]
}
"""

SYSTEM_BODY = """
{
    "total": 1,
    "rows": [{
        "server": "otp",
        "itime": 1712458844,
        "system_event": {
            "event": "account_login",
            "data": {
                "business_id": "100917676394736",
                "org_id": "100917676394700",
                "operator": {
                    "email": "operator@example.com",
                    "ip_address": "192.0.2.1"
                },
                "account_login": {
                    "action": "login_failed",
                    "fail_reason": "wrong password"
                }
            }
        }
    }]
}
"""
