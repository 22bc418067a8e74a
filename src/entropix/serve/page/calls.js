// Calls of tools under an answer: the function, each argument as a field, and how probable each of them is.

import { el, percent } from "./tokens.js";

const LINE_OF = 400; // characters of an argument that are shown

const sure = (p) => (Number.isFinite(p) ? percent(p, p > 0.0005 && p < 0.01 ? 1 : 0) : "");

// What the page's field of tools holds: null for nothing. Throws a text for a person where it is no list of tools.
export function readTools(text) {
  if (!text.trim()) return null;
  const wanted = 'A JSON list of tools, such as [{"type": "function", "function": {"name": "add"}}].';
  let given;
  try {
    given = JSON.parse(text);
  } catch {
    throw new Error(wanted);
  }
  if (!Array.isArray(given) || !given.every((tool) => tool?.function?.name)) throw new Error(wanted);
  return given.length ? given : null;
}

// Put the deltas of a stream together, in place.
export function gather(calls, deltas) {
  for (const delta of deltas) {
    const call = (calls[delta.index] ??= { id: "", name: "", text: "" });
    call.id ||= delta.id || "";
    call.name += delta.function?.name || "";
    call.text += delta.function?.arguments || "";
  }
}

function field(name, value, p) {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  const shown = text.length > LINE_OF ? `${text.slice(0, LINE_OF)}…` : text;
  return el("tr", {}, el("th", { scope: "row" }, name), el("td", {}, shown), el("td", { class: "number" }, sure(p)));
}

function one(call, said) {
  const p = said?.probability || {};
  const facts = [Number.isFinite(p.call) && `calling ${sure(p.call)}`, Number.isFinite(p.name) && `this function ${sure(p.name)}`].filter(Boolean).join(" · ");
  let fields;
  try {
    const rows = Object.entries(JSON.parse(call.text)).map(([name, value]) => field(name, value, p.arguments?.[name]));
    fields = rows.length ? el("table", { class: "fields" }, ...rows) : el("p", { class: "source" }, "without arguments");
  } catch {
    fields = el("p", { class: "source" }, `its arguments were cut off: ${call.text}`);
  }
  return el("div", { class: "call" }, el("p", { class: "said" }, "calls ", el("b", {}, call.name)), el("p", { class: "source" }, facts), fields);
}

// The calls of an answer, and where it made none although it might have, how probable one was. [] for neither.
export function called({ calls = [], certain = null }) {
  if (calls.length) return calls.map((call, n) => one(call, certain?.calls?.[n]));
  if (!Number.isFinite(certain?.calling)) return [];
  return [el("p", { class: "source call" }, `It called no tool; the probability that it would have begun with a call is ${sure(certain.calling) || "0%"}.`)];
}
