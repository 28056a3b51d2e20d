# A login with curl and the tools that every system has.
set -eu

field() { sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"; }

api() {
    curl -sS -u "$ENGAGELAB_DEV_KEY:$ENGAGELAB_DEV_SECRET" -H 'Content-Type: application/json' -d "$2" \
        "$ENGAGELAB_BASE_URL/$1"
}

message_id=$(api messages '{"to": "+6591234567", "template": {"id": "shop-login"}}' | field message_id)
code=$(curl -sSf "$ENGAGELAB_MOCK_SERVER/_mock/inbox/+6591234567?wait=5" | sed 's/"text".*//' | field code)
api verifications "{\"message_id\": \"$message_id\", \"verify_code\": \"$code\"}"
