// Everything that is known about one token.

import { told } from "./spans.js";
import { count, el, number, percent, visible } from "./tokens.js";

const ATTENTION = ["attention entropy", "attention varentropy", "head agreement", "interaction strength"];
const given = (value) => value !== null && value !== undefined;

function meter(value, limit, ...marks) {
  const node = el("span", { class: "meter", "aria-hidden": "true" });
  const fill = el("span", { class: "fill" });
  fill.style.width = `${Math.min(100, (100 * value) / limit)}%`;
  node.append(fill);
  for (const mark of marks) {
    const line = el("span", { class: "mark" });
    line.style.left = `${(100 * mark) / limit}%`;
    node.append(line);
  }
  return node;
}

function signals(step, thresholds) {
  const rows = [];
  for (const [name, unit] of [["entropy", "nats"], ["varentropy", "nats²"]]) {
    if (!given(step[name])) continue;
    const marks = thresholds ? [thresholds[`${name}_low`], thresholds[`${name}_high`]] : [];
    const limit = Math.max(step[name], ...marks.map((mark) => mark * 1.3), 0.1);
    rows.push([name, el("span", {}, `${number(step[name])} ${unit}`), meter(step[name], limit, ...marks)]);
  }
  if (rows.length && step.truncated) rows.push(["of", `the ${step.truncated} likeliest tokens, renormalised`]);
  return rows.length ? facts("signals", rows) : el("p", { class: "note" }, "No signals: this token was not decided on its own.");
}

function attention(step) {
  const rows = (step.attention || []).map((value, at) => [ATTENTION[at], number(value, at === 1 ? 3 : 2)]);
  return rows.length ? facts("inline", rows) : null;
}

function facts(name, rows) {
  const list = el("dl", { class: `facts ${name}` });
  for (const [term, value, extra] of rows) list.append(el("div", {}, el("dt", {}, term), el("dd", {}, value, extra)));
  return list;
}

function parameters(step) {
  const rows = [];
  if (given(step.temperature)) rows.push(["temperature", number(step.temperature)]);
  if (given(step.top_k)) rows.push(["top-k", step.top_k === 0 ? "off" : String(step.top_k)]);
  if (given(step.top_p)) rows.push(["top-p", step.top_p === 1 ? "off" : number(step.top_p)]);
  if (given(step.min_p)) rows.push(["min-p", step.min_p === 0 ? "off" : number(step.min_p, 3)]);
  if (step.candidates > 1) rows.push(["candidates", String(step.candidates)]);
  return rows.length ? facts("inline", rows) : null;
}

// What was drawn and compared, in words.
function decision(step) {
  if (step.forced) return "Put here by you; the model went on from it. Its probability is what the model gave it.";
  if (step.action === "inject") return "Put in by the policy, not said by the model.";
  const drawn = step.drawn || [];
  const rank = (at) => (at === 0 ? "the likeliest" : `number ${at + 1}`);
  if (drawn.length > 1) {
    const how = step.horizon
      ? `by what follows in ${count(step.horizon, "token")}`
      : "by likelihood alone";
    return `Drew ${drawn.map(rank).join(", ")}; compared them ${how} and kept ${rank(step.rank)}.`;
  }
  if (step.temperature === 0) return "Took the likeliest token.";
  if (!given(step.rank)) return "";
  const left = (step.leading || []).filter((c) => c[3] > 0).length;
  if (left === 1 && step.rank === 0) return "The filters left only the likeliest token.";
  return `Drew ${rank(step.rank)}.`;
}

// onForce: choose another token in this place; null where nothing can go on from there.
function candidates(step, onForce) {
  const leading = step.leading || [];
  if (!leading.length) return null;
  const body = el("tbody");
  const row = (label, before, after, mine, drawn, at = null) => {
    const bar = (value, kind) => {
      const fill = el("span", { class: `bar ${kind}` });
      fill.style.width = `${Math.max(0, Math.min(100, 100 * (value || 0)))}%`;
      const text = kind === "after" && value === 0 ? "out" : percent(value);
      return el("td", { class: "p" }, fill, el("span", { class: "value" }, text));
    };
    const sign = mine ? "●" : drawn ? "○" : "";
    body.append(
      el(
        "tr",
        { class: mine ? "mine" : after === 0 ? "out" : null },
        el("td", { class: "sign", title: mine ? "in the text" : drawn ? "drawn and compared" : null }, sign),
        el("th", { scope: "row" }, onForce && !mine && at !== null ? force(step, at, onForce) : visible(label)),
        bar(before, "before"),
        bar(after, "after"),
      ),
    );
  };
  const drawn = new Set(step.drawn || []);
  leading.forEach(([token, label, before, after], at) => row(label, before, after, token === step.token, drawn.has(at), at));
  if (!leading.some(([token]) => token === step.token) && given(step.logprob)) {
    row(step.label, Math.exp(step.logprob), null, true, false);
  }
  const head = ["", "candidate", "before filters", "after"].map((title) => el("th", { scope: "col" }, title));
  return el("table", { class: "candidates" }, el("thead", {}, el("tr", {}, ...head)), body);
}

function force(step, at, onForce) {
  const [token, label, before] = step.leading[at];
  const title = "go on with this token instead";
  const button = el("button", { type: "button", class: "force", title, "aria-label": `${visible(label)}: ${title}` }, visible(label));
  button.addEventListener("click", () => onForce({ token, label, before, rank: at }));
  return button;
}

// What else was tried in the place of this token, each with how it went on from here and what became of it.
function tried(index, branches, onBranch) {
  if (!branches.length) return null;
  const list = el("ul", { class: "tried" });
  for (const branch of branches) {
    const read = el("button", { type: "button" }, `branch ${branch.number}`);
    read.addEventListener("click", () => onBranch(branch.number));
    const all = branch.steps.slice(Math.max(index - branch.origin, 0)).map((step) => step.text).join("");
    const text = all.length > 90 ? `${all.slice(0, 90)}…` : all;
    list.append(el("li", {}, read, ` ${text.replace(/\s+/g, " ").trim() || "(no text)"} `, el("small", {}, fate(branch))));
  }
  return el("div", {}, el("h4", {}, "Also tried here"), list);
}

export function fate(branch) {
  const parts = [branch.opened, count(branch.steps.length, "token"), branch.ended];
  if (given(branch.score)) parts.push(`score ${number(branch.score, 3)}`);
  if (given(branch.answer)) parts.push(`answer ${branch.answer}`);
  if (given(branch.weight)) parts.push(`weight ${number(branch.weight, 2)}`);
  return parts.filter(Boolean).join(" · ");
}

// The panel for one token. `branches`: those that a search opened at this place.
export function detail(step, index, { thresholds, branches, onBranch, onForce = null, span = null }) {
  const chip = el("span", { class: `t r-${step.regime}${step.action === "inject" ? " inject" : ""}` }, step.regime);
  const said = given(step.logprob) ? `p\u00a0${percent(Math.exp(step.logprob))}` : null;
  const place = [`token\u00a0${index + 1}`, `id\u00a0${step.token}`, said].filter(Boolean).join(" · ");
  return [
    el("h3", {}, el("code", {}, visible(step.label) || "▫"), " ", chip, " ", el("small", {}, place)),
    el("p", { class: "decision" }, decision(step)),
    span && el("p", { class: "decision distrust" }, told(span)),
    signals(step, thresholds),
    candidates(step, onForce),
    tried(index, branches, onBranch),
    parameters(step),
    attention(step),
  ].filter(Boolean);
}
