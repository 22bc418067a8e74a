// Tokens as elements: what a person reads and points at. Text of a model is data: it only ever becomes text nodes.

export const REGIMES = ["flow", "adapt", "branch", "clarify", "resample"];
export const MEANINGS = {
  flow: "sure",
  adapt: "moderately unsure",
  branch: "a favourite and live alternatives",
  clarify: "evenly unsure of many",
  resample: "lost",
};
export const MODES = ["entropy", "regime", "probability"];

// upper ends of the levels 0, 1, …; what lies above the last end is the last level
export const LEVELS = {
  entropy: [0.1, 0.5, 1, 1.5, 2, 3, 4],
  surprisal: [0.95, 0.9, 0.75, 0.5, 0.25, 0.1, 0.01].map((p) => -Math.log(p)),
};

// The tint of an entropy, continuous: percent of the colour, and how high the bar at the foot is, in pixels. It goes
// through the levels' tints, which are legible and told apart.
const HEAT = [[0.05, 0, 0], [0.3, 6, 1], [0.75, 12, 1.4], [1.25, 19, 2], [1.75, 27, 2.5], [2.5, 36, 3], [3.5, 46, 4], [4.5, 57, 5]];

export function heat(entropy) {
  const next = HEAT.findIndex(([at]) => entropy < at);
  if (next === 0) return [0, 0];
  if (next < 0) return HEAT[HEAT.length - 1].slice(1);
  const [low, high] = [HEAT[next - 1], HEAT[next]];
  const way = (entropy - low[0]) / (high[0] - low[0]);
  return [1, 2].map((k) => low[k] + way * (high[k] - low[k]));
}

function warm(node, entropy) {
  const [tint, bar] = heat(entropy);
  node.style.setProperty("--tint-e", `${tint.toFixed(1)}%`);
  node.style.setProperty("--bar-e", `${bar.toFixed(1)}px`);
}

export function level(kind, value) {
  if (value === null || value === undefined) return null;
  const at = LEVELS[kind].findIndex((end) => value <= end);
  return at < 0 ? LEVELS[kind].length : at;
}

// An element with attributes and children; strings become text. Inline styles are left to callers, through the CSSOM.
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

const CONTROLS = /[\u0000-\u001f\u007f-\u009f\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;
const BIDI = /[\u200e\u200f\u202a-\u202e\u2066-\u2069]/;

const escaped = (character) => {
  const code = character.charCodeAt(0);
  if (code === 10) return "⏎";
  if (code === 9) return "⇥";
  return code < 256 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u${code.toString(16).padStart(4, "0")}`;
};

// A token's label on one line: spaces at the ends, line breaks and control characters can be seen.
export function visible(label) {
  const text = label.replace(CONTROLS, escaped);
  if (!text.trim()) return "␣".repeat(text.length);
  return text.replace(/^ +| +$/g, (spaces) => "␣".repeat(spaces.length));
}

// What stands before a token whose own text cannot be seen; null for ordinary text.
function mark(step) {
  if (step.text === "") return /^<.+>$/s.test(step.label) ? visible(step.label).slice(0, 24) : "▫";
  const hidden = step.text.match(CONTROLS);
  if (hidden) return hidden.slice(0, 8).map(escaped).join("");
  return step.text.trim() === "" ? "·".repeat(Math.min(step.text.length, 8)) : null;
}

export function tokenElement(step, index) {
  const node = document.createElement("span");
  const e = level("entropy", step.entropy);
  const p = level("surprisal", step.logprob === null || step.logprob === undefined ? null : -step.logprob);
  node.className = `t r-${REGIMES.includes(step.regime) ? step.regime : "flow"}`;
  if (e !== null) {
    node.className += ` e${e}`;
    warm(node, step.entropy);
  }
  if (p !== null) node.className += ` p${p}`;
  if (step.action === "inject") node.className += " inject";
  if (step.forced) node.className += " forced";
  if (BIDI.test(step.text)) node.className += " isolate";
  const sign = mark(step);
  // shown by the style sheet, so that copied text is the answer's text exactly
  if (sign !== null) node.dataset.mark = sign;
  node.dataset.i = index;
  node.tabIndex = -1;
  node.setAttribute("role", "option");
  node.textContent = step.text;
  return node;
}

export const number = (value, digits = 2) =>
  value === null || value === undefined || !Number.isFinite(value) ? "–" : value.toFixed(digits);
export const percent = (value, digits = 1) =>
  value === null || value === undefined || !Number.isFinite(value) ? "–" : `${(100 * value).toFixed(digits)}%`;
export const count = (n, noun) => `${n} ${noun}${n === 1 ? "" : "s"}`;

// One line for people who hear a token instead of seeing it.
export function spoken(step, index) {
  const parts = [`${visible(step.label)}, token ${index + 1}`, step.action === "inject" ? "injected" : step.regime];
  if (step.entropy !== null && step.entropy !== undefined) {
    parts.push(`entropy ${number(step.entropy)} nats, varentropy ${number(step.varentropy)} nats²`);
  }
  if (step.logprob !== null && step.logprob !== undefined) parts.push(`probability ${percent(Math.exp(step.logprob))}`);
  return parts.join(", ");
}

function swatch(name, classes, text) {
  return el("span", { class: "legend-item" }, el("span", { class: `t ${classes}`, "aria-hidden": "true" }, name), text);
}

// What the tints mean, in the mode that is shown.
export function legend(mode) {
  const node = el("p", { class: "legend", "data-mode": mode });
  if (mode === "regime") {
    for (const regime of REGIMES) node.append(swatch(regime, `r-${regime}`, ` ${MEANINGS[regime]}`));
    node.append(swatch("injected", "inject", " put in, not said"));
    return node;
  }
  if (mode === "entropy") {
    node.append("sure");
    for (const at of [0, 0.5, 1, 1.5, 2, 3, 4, 5]) {
      const sample = el("span", { class: "t" }, at < 5 ? String(at) : "5 +");
      warm(sample, at);
      node.append(el("span", { class: "legend-item" }, sample));
    }
    node.append("unsure: entropy in nats");
    return node;
  }
  const ends = LEVELS.surprisal;
  const bound = (at) => `${+(100 * Math.exp(-ends[at])).toFixed(1)}`;
  for (let at = 0; at <= ends.length; at++) {
    const text = at < ends.length ? `≥ ${bound(at)}` : `< ${bound(at - 1)}`;
    node.append(el("span", { class: "legend-item" }, el("span", { class: `t p${at}` }, text)));
  }
  node.append("probability in %, before temperature and filters");
  return node;
}
