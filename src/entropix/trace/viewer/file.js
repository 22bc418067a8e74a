// A trace in one file: its answers, one at a time, beside the view of them.

import { mount } from "./viewer.js";
import { el } from "./tokens.js";

const trace = JSON.parse(document.getElementById("trace").textContent);
const place = (id) => document.getElementById(id);

const view = mount(place("view"), { thresholds: trace.header.thresholds || null, text: place("text") });

// A prompt is a text, or a conversation of messages.
function said(prompt) {
  if (!Array.isArray(prompt)) return typeof prompt === "string" ? prompt : "";
  return prompt.map(({ role, content }) => `${role}: ${content}`).join("\n");
}

function open(at) {
  const answer = trace.answers[at];
  const prompt = said(answer.prompt);
  place("prompt").textContent = prompt;
  place("prompt").hidden = prompt === "";
  view.load({ ...trace.header, ...answer });
}

const { model, policy, seed } = trace.header;
place("about").textContent = [model, policy, Number.isFinite(seed) ? `seed ${seed}` : ""].filter(Boolean).join(" · ");
place("problems").textContent = trace.problems.join("; ");
if (trace.answers.length > 1) {
  const choice = el("select", { "aria-label": "answer" });
  trace.answers.forEach((answer, at) => {
    const label = said(answer.prompt).split("\n").pop().slice(0, 60);
    choice.append(el("option", { value: at }, `${answer.index + 1} of ${trace.answers.length}: ${label}`));
  });
  choice.addEventListener("change", () => open(Number(choice.value)));
  place("about").after(choice);
}
if (trace.answers.length) open(0);
