// Two answers to one message: where they part, and what each has cost.

import { unsureOf } from "./takes.js";
import { el, number, percent, visible } from "./tokens.js";

// The index of the first token that differs; where one answer goes on after the other has ended, that of the first
// token beyond; null for the same tokens.
export function difference(one, other) {
  const both = Math.min(one.length, other.length);
  for (let at = 0; at < both; at++) if (one[at].token !== other[at].token) return at;
  return one.length === other.length ? null : both;
}

// A table of the last answers of two columns, with where they part; null while one is not there yet. Marks the tokens.
export function comparison(columns) {
  const turns = columns.map((column) => column.turns[column.turns.length - 1]);
  for (const column of columns) for (const turn of column.turns) turn.view.body.unmark("differs");
  if (turns.length !== 2 || turns.some((turn) => !turn || turn.stop || !turn.now?.result)) return null;
  const steps = turns.map((turn) => turn.view.data().steps);
  const at = difference(...steps);
  const head = ["", "tokens", "computed", "seconds", "uncertainty a token", "confidence", "answer"].map((title) => el("th", { scope: "col" }, title));
  const rows = turns.map((turn, n) => {
    const { result, policy, effort } = turn.now;
    const how = [policy, effort ? `effort ${effort}` : result.search?.spec].filter(Boolean).join(" · ");
    const cells = [steps[n].length, result.ledger.forwarded, number(result.seconds, 1), percent(unsureOf(result), 0), result.search?.ballots ? percent(result.confidence, 0) : "–", result.search?.answer ?? "–"];
    return el("tr", {}, el("th", { scope: "row" }, `${columns[n].title} · ${how}`), ...cells.map((cell) => el("td", {}, String(cell))));
  });
  const words = el("p", {});
  if (at === null) words.append("Both say the same, token by token.");
  else {
    const said = steps.map((own) => (own[at] ? `“${visible(own[at].label)}”` : "the end"));
    const go = el("button", { type: "button" }, `token ${at + 1}`);
    go.addEventListener("click", () => turns.forEach((turn) => turn.view.reveal(Math.min(at, turn.view.data().steps.length - 1))));
    words.append("They part at ", go, `: ${columns[0].title} says ${said[0]}, ${columns[1].title} ${said[1]}.`);
    turns.forEach((turn, n) => steps[n][at] && turn.view.body.mark(at, "differs"));
  }
  const table = el("table", {}, el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...rows));
  return el("div", {}, words, el("div", { class: "scrolled" }, table));
}
