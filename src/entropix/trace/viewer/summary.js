// What is known about a whole answer, and the tree of its search.

import { fate } from "./detail.js";
import { distrust } from "./spans.js";
import { REGIMES, count, el, number, percent, tokenElement } from "./tokens.js";

export const ENDINGS = {
  end: "the model ended its turn",
  stop: "stop string",
  length: "token limit",
  context: "context full",
  constraint: "no token possible",
  cancelled: "cancelled",
  error: "failed",
};
const SPENT = ["prompt", "sampled", "injected", "abandoned", "looked_ahead", "recomputed", "asked"];

const mean = (values) => (values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : 0);
const finite = (steps, name) => steps.map((step) => step[name]).filter((value) => Number.isFinite(value));

// The share of the tokens in each regime that occurred, as a bar and in words.
function shares(steps) {
  const bar = el("div", { class: "shares", "aria-hidden": "true" });
  const words = [];
  for (const regime of REGIMES) {
    const n = steps.filter((step) => step.regime === regime).length;
    if (!n) continue;
    const part = el("span", { class: `c-${regime}` });
    part.style.flexGrow = n;
    bar.append(part);
    words.push(`${regime} ${percent(n / steps.length, 0)}`);
  }
  return [bar, words.join(", ")];
}

// The token ledger in words: what was computed, and what a kept prefix saved.
function cost(ledger) {
  const spent = SPENT.filter((kind) => ledger[kind]).map((kind) => `${ledger[kind]} ${kind.replace("_", " ")}`);
  const saved = ledger.shared ? `; ${count(ledger.shared, "prompt token")} reused` : "";
  return `${count(ledger.forwarded, "token")} forwarded (${spent.join(", ")})${saved}`;
}

// Of a vote the share that disagrees; of one text nats, since 1 − its probability is nearly 1 for any long text.
function unsure(surprise, result) {
  const search = result && result.search;
  if (search && search.confidence !== null && search.confidence !== undefined) {
    return `${percent(1 - search.confidence, 0)} (1 − the answer's share of ${count(search.ballots, "text")})`;
  }
  const total = surprise.reduce((sum, value) => sum - value, 0);
  const token = surprise.length ? 1 - Math.exp(mean(surprise)) : 0;
  return `${number(total, 1)} nats (−Σ ln p of the text), ${percent(token, 0)} a token`;
}

export function summary(header, steps, result) {
  if (!steps.length && !result) return [];
  const surprise = finite(steps, "logprob");
  const [bar, words] = shares(steps);
  const rows = [
    ["uncertainty", unsure(surprise, result)],
    ["mean entropy", `${number(result ? result.mean_entropy : mean(finite(steps, "entropy")))} nats`],
    ["regimes", words],
  ];
  if (result) {
    const spans = distrust(result.spans);
    if (spans) rows.push(["to distrust", spans]);
    const search = result.search;
    if (search && Object.keys(search.shares || {}).length) {
      const votes = Object.entries(search.shares).map(([answer, share]) => `${answer}: ${percent(share, 0)}`);
      rows.push(["votes", `${votes.join(", ")} of ${count(search.ballots, "ballot")}`]);
    }
    if (search) rows.push(["search", search.spec]);
    const source = result.confidence_source ? ` (${result.confidence_source})` : "";
    rows.push(["confidence", `${percent(result.confidence, 0)}${source}`]);
    const speed = result.seconds > 0 ? `, ${number(steps.length / result.seconds, 1)} tokens/s` : "";
    const ending = ENDINGS[result.finish_reason] || result.finish_reason;
    rows.push(["length", `${count(steps.length, "token")}${speed}; ${ending}`]);
    rows.push(["cost", cost(result.ledger)]);
    rows.push(["policy", result.policy], ["profile", result.profile], ["model", result.model], ["seed", String(result.seed)]);
    for (const note of result.notes || []) rows.push(["note", note]);
  } else {
    rows.push(["length", count(steps.length, "token")]);
    for (const name of ["policy", "model", "seed"]) {
      if (header[name] !== null && header[name] !== undefined) rows.push([name, String(header[name])]);
    }
  }
  const list = el("dl", { class: "facts" });
  for (const [term, value] of rows) list.append(el("div", {}, el("dt", {}, term), el("dd", {}, value)));
  return [el("h3", {}, "Answer"), bar, list];
}

// Every branch of a search under the one it was opened from. onBranch: read that branch in the viewer.
export function tree(search, onBranch) {
  const lists = new Map([[null, el("ul", { class: "tree" })]]);
  for (const branch of search.branches) {
    const read = el("button", { type: "button" }, `${branch.kept ? "●" : "○"} branch ${branch.number}`);
    read.addEventListener("click", () => onBranch(branch.number));
    const text = el("p", { class: "branch-text" });
    const shown = branch.steps.slice(0, 60);
    for (const step of shown) {
      const token = tokenElement(step, 0);
      token.removeAttribute("role");
      token.removeAttribute("tabindex");
      delete token.dataset.i;
      text.append(token);
    }
    if (shown.length < branch.steps.length) text.append("…");
    const place = branch.parent === null ? "" : `from token ${branch.origin + 1} of branch ${branch.parent} · `;
    const item = el("li", {}, read, el("small", {}, ` ${place}${fate(branch)}`), text);
    const under = lists.get(branch.parent) || lists.get(null);
    if (under.tagName === "UL") under.append(item);
    const children = el("ul");
    item.append(children);
    lists.set(branch.number, children);
  }
  for (const list of lists.values()) if (!list.children.length) list.remove();
  return el(
    "details",
    { class: "search" },
    el("summary", {}, `Search ${search.spec}: ${count(search.branches.length, "branch").replace("branchs", "branches")}`),
    lists.get(null),
  );
}

// All steps of a branch: those it shares with its ancestors, then its own.
export function path(search, number) {
  const branch = search.branches.find((one) => one.number === number);
  if (!branch) return [];
  return branch.parent === null ? branch.steps : [...path(search, branch.parent).slice(0, branch.origin), ...branch.steps];
}

// What else was tried beside the shown text: branches by the index of the token they stand beside.
export function forks(search, steps) {
  const places = new Map();
  for (const branch of search ? search.branches : []) {
    const at = branch.origin;
    const own = path(search, branch.number);
    if (branch.parent === null || !own[at] || !steps[at]) continue;
    if (own.slice(0, at).some((step, i) => step.token !== steps[i].token)) continue;
    // a branch that became the text stands beside what its parent went on with
    const mine = own[at].token === steps[at].token;
    const other = mine ? search.branches.find((one) => one.number === branch.parent) : branch;
    if (mine && (path(search, other.number)[at]?.token ?? steps[at].token) === steps[at].token) continue;
    const here = places.get(at) || places.set(at, []).get(at);
    if (!here.includes(other)) here.push(other);
  }
  return places;
}
