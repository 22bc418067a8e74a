// A trace from a file: JSON lines (docs/traces.md), or the page that `entropix trace --html` or this page's export wrote.

const SCHEMA = "entropix.trace/1";
const MOST = 100 * 1024 * 1024;

// { header, answers: [{ prompt, steps, result }], problems }; throws an Error that says what is wrong.
export async function readTrace(file) {
  if (file.size > MOST) throw new Error(`${file.name} is larger than 100 MB`);
  const text = await file.text();
  const trace = /^\s*<!doctype html/i.test(text) ? fromPage(text, file.name) : fromLines(text, file.name);
  if (!trace.answers.length) throw new Error(`${file.name} is a trace without an answer`);
  return trace;
}

function fromPage(text, name) {
  // what is between is JSON in which no < is left; the page itself is never made into a document
  const data = /<script type="application\/json" id="trace">([^<]*)<\/script>/.exec(text);
  try {
    const { header, answers, problems } = JSON.parse(data[1]);
    return { header, answers: answers.map(checked), problems };
  } catch {
    throw new Error(`${name} is a page, but not one of a trace`);
  }
}

function fromLines(text, name) {
  let header = null;
  const answers = new Map();
  const problems = [];
  const at = (n) => answers.get(n) || answers.set(n, { prompt: null, steps: [], result: null }).get(n);
  text.split("\n").forEach((line, number) => {
    if (!line.trim()) return;
    let record;
    try {
      record = JSON.parse(line);
    } catch {
      if (!header) throw new Error(`${name} is no trace: line ${number + 1} is not JSON`);
      problems.push(`line ${number + 1} cannot be read and is left out`);
      return;
    }
    if (record?.schema !== SCHEMA) throw new Error(`${name} is no trace: line ${number + 1} does not say "schema": "${SCHEMA}"`);
    const { schema, kind, answer = 0, ...rest } = record;
    if (kind === "header") {
      header = rest;
      (rest.prompts || []).forEach((prompt, n) => { at(n).prompt = prompt; });
    } else if (kind === "prompt") at(answer).prompt = rest.prompt;
    else if (kind === "step") at(answer).steps.push(rest);
    else if (kind === "result") at(answer).result = rest;
  });
  if (!header) throw new Error(`${name} is no trace: it has no header`);
  const found = [...answers.entries()].sort(([a], [b]) => a - b).map(([, answer]) => answer);
  return { header, answers: found.filter(({ steps, result }) => steps.length || result).map(checked), problems };
}

// Steps that the viewer can draw. Throws where what it needs is missing.
function checked(answer) {
  for (const step of answer.steps) {
    if (typeof step.text !== "string" || typeof step.label !== "string" || !Number.isInteger(step.token)) throw new Error("a step of the trace has no text, label or token");
  }
  return answer;
}

// A prompt, which is a text or a list of messages: what was asked last, and the messages before it.
export function asked(prompt) {
  if (!Array.isArray(prompt)) return { prompt: typeof prompt === "string" ? prompt : "", before: [] };
  const said = prompt.filter(({ role }) => role === "user" || role === "assistant");
  const last = said[said.length - 1];
  return { prompt: last ? String(last.content) : "", before: said.slice(0, -1) };
}
