// A column's conversation as a file: a trace of JSON lines (docs/traces.md), or the page that shows it.

const SCHEMA = "entropix.trace/1";

export function lines(header, answers) {
  const line = (kind, record) => JSON.stringify({ schema: SCHEMA, kind, ...record });
  const out = [line("header", { ...header, prompts: [] })];
  answers.forEach(({ prompt, steps, result }, answer) => {
    out.push(line("prompt", { answer, prompt }));
    for (const step of steps) out.push(line("step", { answer, ...step }));
    if (result) out.push(line("result", { answer, ...result }));
  });
  return `${out.join("\n")}\n`;
}

export async function page(header, answers) {
  const response = await fetch("/page/trace.html");
  if (!response.ok) throw new Error("the server did not give the page");
  const [before, after] = (await response.text()).split("{trace}");
  const problems = answers.flatMap(({ steps, result }, at) =>
    result ? [] : [`answer ${at + 1} has no result: the run ended after ${steps.length} tokens of it`]);
  const trace = { header, answers: answers.map((answer, index) => ({ index, ...answer })), problems };
  // inside <script> only markup could end the data, and markup begins with <
  return before + JSON.stringify(trace).replace(/</g, "\\u003c") + after;
}

export function save(name, text, type) {
  const address = URL.createObjectURL(new Blob([text], { type }));
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
