// Requests to this console: the CSRF token goes along, and what is wrong comes back as an Error in plain words.

const token = document.querySelector('meta[name="csrf"]')?.content ?? "";

export async function ask(path, { method = "GET", json, signal } = {}) {
  const headers = { Accept: "application/json" };
  if (method !== "GET") headers["X-CSRF"] = token;
  if (json !== undefined) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(path, { method, headers, signal, body: json === undefined ? undefined : JSON.stringify(json) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The center does not answer. Is it running?");
  }
  if (answer.status === 401) {
    location.assign(`/login?ended=1&next=${encodeURIComponent(location.pathname + location.search)}`);
    throw new Error("Please sign in again.");
  }
  const body = answer.status === 204 ? null : await answer.json().catch(() => null);
  if (!answer.ok) throw new Error(body?.detail ?? `That did not work (${answer.status}).`);
  return body;
}
