// A vote under its answer: how it stands while it is held, then the answer, how sure, why, and every text to open.

import { count, el, percent } from "./tokens.js";
import { path } from "./summary.js";

const SHOWN = 8; // answers with a bar of their own

const several = (n) => (n === 1 ? "1 text" : `${n} texts`);

function bar(share, ...label) {
  const fill = el("span", { class: "fill" });
  fill.style.width = `${Math.round(100 * Math.min(Math.max(share, 0), 1))}%`;
  return el("span", { class: "share" }, el("span", { class: "track", "aria-hidden": "true" }, fill), el("span", {}, ...label));
}

// How a vote stands: { texts, ended, answers, tokens }. Not all that has ended needs to have an answer.
export function standing({ texts, ended, answers, tokens }) {
  const written = texts - ended;
  const words = `${several(ended)} of ${texts} ended${written ? `, ${written} being written` : ""} · ${count(tokens, "token")}`;
  const rows = Object.entries(answers).sort((a, b) => b[1] - a[1]).slice(0, SHOWN);
  const list = el("ul", { class: "shares-of" });
  for (const [answer, n] of rows) list.append(el("li", {}, bar(n / Math.max(ended, 1), el("b", {}, answer), ` ${n}`)));
  return el("div", { class: "vote live", role: "status" }, el("p", {}, words), list);
}

// What was found, or that it is not sure enough.
function verdict(result) {
  const { search } = result;
  const sure = `${percent(result.confidence, 0)} sure`;
  const bound = Number.isFinite(result.risk_bound) ? ` At most ${percent(result.risk_bound, 0)} of the answers that are given are wrong.` : "";
  if (result.abstained) {
    return [el("p", { class: "said abstained" }, el("b", {}, "No answer: not sure enough.")),
      el("p", { class: "source" }, `The texts lean to ${search.answer ?? "nothing"}, ${sure}: ${result.confidence_source}.${bound}`)];
  }
  if (search.answer === null) return [el("p", { class: "said" }, "No text has an answer that could be counted.")];
  return [el("p", { class: "said" }, el("b", {}, search.answer), ` · ${sure}`), el("p", { class: "source" }, `${result.confidence_source}.${bound}`)];
}

function one(branch, search, onRead) {
  const steps = path(search, branch.number);
  const read = el("button", { type: "button" }, "Look at its tokens");
  read.addEventListener("click", () => onRead(branch.number));
  const facts = [`text ${branch.number + 1}`, count(steps.length, "token"), branch.kept ? "the one shown" : branch.opened];
  const text = steps.map((step) => step.text).join("");
  return el("details", { class: "one" }, el("summary", {}, facts.join(" · ")), el("p", { class: "whole" }, text), read);
}

function group(answer, share, branches, search, onRead) {
  const label = answer === null ? el("i", {}, "no answer") : el("b", {}, answer);
  const of = branches.length ? `, ${several(branches.length)}` : "";
  const node = el("details", {}, el("summary", {}, bar(share, label, ` ${percent(share, 0)}${of}`)));
  // a vote of many long texts is made only as it is opened
  node.addEventListener("toggle", () => node.open && node.children.length === 1 && node.append(...branches.map((branch) => one(branch, search, onRead))));
  return el("li", {}, node);
}

// The vote of a result, null where none was held. onRead: show the tokens of a text, by its number.
export function vote(result, onRead) {
  const search = result?.search;
  if (!search || !search.ballots) return null;
  const list = el("ul", { class: "shares-of" });
  const shares = Object.entries(search.shares).sort((a, b) => b[1] - a[1]);
  const voted = search.branches.filter((branch) => Number.isFinite(branch.weight));
  for (const [answer, share] of shares.slice(0, SHOWN)) {
    list.append(group(answer, share, voted.filter((branch) => branch.answer === answer), search, onRead));
  }
  const more = shares.slice(SHOWN);
  if (more.length) list.append(el("li", { class: "more" }, `${count(more.length, "further answer")}, ${percent(more.reduce((sum, [, share]) => sum + share, 0), 0)}`));
  const silent = 1 - shares.reduce((sum, [, share]) => sum + share, 0);
  const without = search.branches.filter((branch) => branch.answer === null && branch.steps.length);
  if (silent > 0.005) list.append(group(null, silent, without, search, onRead));
  return el("div", { class: "vote" }, ...verdict(result), list);
}
