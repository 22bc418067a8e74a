// Where to distrust an answer: the spans that were not sure, underlined in the text and listed in the summary.

import { percent, visible } from "./tokens.js";

const SURE_SPAN = 0.9;
const MOST_SPANS = 6;

export const doubtful = (spans) =>
  (spans || [])
    .filter((span) => Number.isFinite(span.probability) && span.probability < SURE_SPAN)
    .sort((a, b) => a.probability - b.probability || a.start - b.start);

// Underline the tokens of these spans in a Text; the span of each token, by its index.
export function markSpans(text, spans) {
  const found = new Map();
  for (const span of doubtful(spans)) {
    for (let n = span.first; n <= span.last; n += 1) {
      if (found.has(n)) continue;
      found.set(n, span);
      text.mark(n, "doubt");
    }
  }
  return found;
}

// One of them in words.
export function told({ kind, text, probability, least, alternatives }) {
  const others = (alternatives || []).map(([label, p]) => `“${visible(label)}” ${percent(p, 0)}`);
  const instead = others.length ? ` Instead of “${visible(least)}”: ${others.join(", ")}.` : "";
  return `To distrust: the ${kind} “${visible(text).slice(0, 80)}” as a whole has ${percent(probability, 0)}.${instead}`;
}

// The least sure of them in words.
export function distrust(spans) {
  const found = doubtful(spans);
  const said = found.slice(0, MOST_SPANS).map((span) => `${visible(span.text).slice(0, 40)} ${percent(span.probability, 0)}`);
  return said.join(", ") + (found.length > MOST_SPANS ? ` and ${found.length - MOST_SPANS} more` : "");
}
