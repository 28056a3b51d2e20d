// An app that is no Python app: it is told by environment variables where EngageLab is.
const { ENGAGELAB_BASE_URL, ENGAGELAB_DEV_KEY, ENGAGELAB_DEV_SECRET, ENGAGELAB_MOCK_SERVER } = process.env;
const authorization = "Basic " + btoa(`${ENGAGELAB_DEV_KEY}:${ENGAGELAB_DEV_SECRET}`);

async function post(path, body) {
  const response = await fetch(ENGAGELAB_BASE_URL + path, {
    method: "POST",
    headers: { authorization, "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  return response.json();
}

const message = await post("/messages", { to: "+6591234567", template: { id: "shop-login" } });
// What only a test can do: look into the user's phone.
const inbox = await (await fetch(`${ENGAGELAB_MOCK_SERVER}/_mock/inbox/+6591234567?wait=5`)).json();
const answer = await post("/verifications", { message_id: message.message_id, verify_code: inbox.code });
console.log(answer.verified ? "verified" : "not verified");
