// What a newcomer sees first: what this is, three questions to click, and a sentence for every policy, search and effort.

import { el } from "./tokens.js";

const EXAMPLES = [
  { title: "A sum", effort: "low", question: "A shop has 23 apples, sells 8 and gets 12 more. How many apples has it then?" },
  { title: "A fact", question: "Which river flows through Vienna?" },
  { title: "Something open", question: "Write two sentences about a lighthouse that is not sure of the sea." },
];
const KINDS = {
  policy: "how each token is chosen",
  search: "what else is tried on the way",
  effort: "how many texts a question is worth",
};

// choices: { policy, search, effort }; ask(question, effort): an example was clicked.
export function startScreen(choices, ask) {
  const questions = el("div", { class: "examples" });
  for (const { title, question, effort } of EXAMPLES) {
    const able = effort && choices.effort.options.some(({ name }) => name === effort);
    const button = el("button", { type: "button" }, el("b", {}, title), el("span", {}, question), able ? el("small", {}, `with effort ${effort}`) : null);
    button.addEventListener("click", () => ask(question, able ? effort : null));
    questions.append(button);
  }
  const lists = el("div", { class: "kinds" });
  for (const [kind, meaning] of Object.entries(KINDS)) {
    const options = choices[kind].options.filter(({ summary }) => summary);
    if (options.length) lists.append(explained(kind, meaning, options, choices[kind]));
  }
  return el(
    "section",
    { class: "start", "aria-label": "start" },
    el("h2", {}, "See where the model is unsure"),
    el("p", {}, "Every token of an answer will be tinted by how unsure the model was. Point at one to see what else it could have said; click on an alternative to go on from there."),
    questions,
    lists,
    el("p", { class: "hint" }, "A trace that was kept (.jsonl or .html) opens when it is dropped here."),
  );
}

function explained(kind, meaning, options, choice) {
  const list = el("dl", {});
  for (const { name, summary } of options) {
    const pick = el("button", { type: "button", class: "quiet", "aria-pressed": String(choice.name === name) }, name);
    pick.addEventListener("click", () => choice.set(name));
    choice.select.addEventListener("change", () => pick.setAttribute("aria-pressed", String(choice.name === name)));
    choice.select.addEventListener("chosen", () => pick.setAttribute("aria-pressed", String(choice.name === name)));
    list.append(el("div", {}, el("dt", {}, pick), el("dd", {}, `${summary[0].toUpperCase()}${summary.slice(1)}.`)));
  }
  return el("section", {}, el("h3", {}, kind), el("p", { class: "hint" }, meaning), list);
}
