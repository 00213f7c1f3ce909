// Requests to the server that the page comes from, with the key that was given in this tab.

const KEY_NAME = "metarm-key";
const GET_PATIENCE_MS = 10_000;
const POST_PATIENCE_MS = 600_000; // a version is loaded before its rollback is answered

// An answer that is no success; `status` 0: there was none.
class ServerError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

// Kept for this tab alone; where a browser keeps nothing, until the page is left.
const tabStorage = (() => {
  try {
    return sessionStorage;
  } catch {
    return null;
  }
})();
let accessKey = tabStorage?.getItem(KEY_NAME) ?? "";

function setAccessKey(key) {
  accessKey = key;
  if (key) tabStorage?.setItem(KEY_NAME, key);
  else tabStorage?.removeItem(KEY_NAME);
}

const isKey = (text) => /^[\x21-\x7e]+$/.test(text);

async function fetchText(path, body) {
  const headers = { ...(accessKey && { Authorization: `Bearer ${accessKey}` }), ...(body && { "Content-Type": "application/json" }) };
  const patience = body ? POST_PATIENCE_MS : GET_PATIENCE_MS;
  const more = body ? { method: "POST", body: JSON.stringify(body) } : {};
  try {
    const answer = await fetch(path, { ...more, headers, cache: "no-store", redirect: "error", signal: AbortSignal.timeout(patience) });
    return { answer, text: await answer.text() };
  } catch (error) {
    throw new ServerError(0, error.name === "TimeoutError" ? `nothing came within ${formatDuration(patience / 1000)}` : "no connection");
  }
}

// The JSON that `path` answers with; with a `body`, to a POST. A ServerError where it refuses or there is none.
async function ask(path, body) {
  const { answer, text } = await fetchText(path, body);
  let json = null;
  try {
    json = JSON.parse(text);
  } catch {
    if (answer.ok) throw new ServerError(answer.status, "an answer that is no JSON");
  }
  if (!answer.ok) throw new ServerError(answer.status, json?.error?.message ?? (answer.statusText || "no reason given"));
  return json;
}
