// The server's API as this page needs it: what it can do, and answers as they stream.

// What went wrong, in words for the person at the page.
export class Failure extends Error {
  constructor(message, { status = 0, detail = "" } = {}) {
    super(message);
    this.status = status;
    this.detail = detail;
  }
}

const GONE = "The server cannot be reached. Is `entropix serve` still running?";
const CUT = "The connection ended before the answer did. What had come is kept.";

const headers = (key) => (key ? { Authorization: `Bearer ${key}` } : {});

async function ask(address, options) {
  try {
    return await fetch(address, { cache: "no-store", ...options });
  } catch (error) {
    throw error.name === "AbortError" ? error : new Failure(GONE);
  }
}

// The error of an answer that is none, whatever its body is.
async function failure(response) {
  let detail = "";
  try {
    detail = (await response.json()).error.message;
  } catch {
    detail = response.statusText;
  }
  const wait = Number(response.headers.get("Retry-After"));
  const words = {
    401: "The server wants an API key, and this one is not right.",
    413: "That is more than the server takes at once.",
    429: `The server is busy${wait > 0 ? `; it asks to wait ${wait} s` : ""}.`,
    503: "The server cannot answer now.",
  };
  const general = response.status >= 500 ? "The server failed." : "The server refused.";
  return new Failure(words[response.status] || general, { status: response.status, detail });
}

export async function information(key) {
  const response = await ask("/entropix/info", { headers: headers(key) });
  if (!response.ok) throw await failure(response);
  return response.json();
}

// The events of one answer: { prefix }, { text }, { calls }, { steps }, { progress }, { certain }, { result }.
export async function* answer(request, key, signal) {
  const response = await ask("/v1/chat/completions", {
    method: "POST",
    headers: { "Content-Type": "application/json", ...headers(key) },
    body: JSON.stringify({ ...request, stream: true }),
    signal,
  });
  if (!response.ok) throw await failure(response);
  for await (const data of events(response.body)) {
    if (data === "[DONE]") return;
    const chunk = JSON.parse(data);
    if (chunk.error) throw new Failure("The server failed in the middle of the answer.", { detail: chunk.error.message });
    const text = chunk.choices?.[0]?.delta?.content;
    if (text) yield { text };
    const calls = chunk.choices?.[0]?.delta?.tool_calls;
    if (calls) yield { calls };
    if (typeof chunk.entropix?.prefix === "string") yield { prefix: chunk.entropix.prefix };
    if (chunk.entropix?.progress) yield { progress: chunk.entropix.progress };
    if (chunk.entropix?.steps) yield { steps: chunk.entropix.steps };
    if (chunk.entropix?.calls) yield { certain: { calls: chunk.entropix.calls, calling: chunk.entropix.calling } };
    if (chunk.entropix?.result) yield { result: chunk.entropix.result };
  }
  throw new Failure(CUT);
}

// The data of server-sent events, one after the other.
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const parts = (rest + value).split(/\r?\n\r?\n/);
      rest = parts.pop();
      for (const part of parts) {
        const data = part.split(/\r?\n/).filter((line) => line.startsWith("data:"));
        if (data.length) yield data.map((line) => line.slice(5).trimStart()).join("\n");
      }
    }
  } catch (error) {
    throw error.name === "AbortError" ? error : new Failure(CUT);
  } finally {
    reader.cancel().catch(() => {});
  }
}
