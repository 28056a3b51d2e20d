# Start the receiver, check it, and send it the callbacks of one message. Exits with 1 if the receiver falls short.
set -eu
export PORT="${PORT:-8080}" SHOW_STATE=1 ENGAGELAB_WEBHOOK_USERNAME=acme ENGAGELAB_WEBHOOK_SECRET=s3cret
folder="$(mktemp -d)"
export CALLBACKS_FILE="$folder/callbacks"

sh start.sh &
trap 'kill $! 2> /dev/null || true; rm -r "$folder"' EXIT

url="http://127.0.0.1:$PORT"
engagelab-mock check "$url/engagelab" --wait 60 --patience 0.1 --fail-on major \
    --observe "$url/messages/{message_id}" --effect credits=verified --terminal verified
engagelab-mock send fallback --url "$url/engagelab"
# If it has ended, another program at its port may have passed in its place.
kill -0 $! 2> /dev/null || { echo "The receiver has ended. Is port $PORT in use? Give another PORT." >&2; exit 1; }
