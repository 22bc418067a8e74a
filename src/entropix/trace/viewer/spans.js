// Where to distrust an answer: the spans that were not sure, underlined in the text and listed in the summary.

import { percent, visible } from "./tokens.js";

const SURE_SPAN = 0.9;
const MOST_SPANS = 6;

export const doubtful = (spans) =>
  (spans || [])
    .filter((span) => Number.isFinite(span.probability) && span.probability < SURE_SPAN)
    .sort((a, b) => a.probability - b.probability || a.start - b.start);

// Underline the tokens of these spans; root holds elements with the token's number.
export function markSpans(root, spans) {
  for (const span of doubtful(spans)) {
    for (let n = span.first; n <= span.last; n += 1) {
      for (const node of root.querySelectorAll(`[data-i="${n}"]`)) node.classList.add("doubt");
    }
  }
}

// The least sure of them in words.
export function distrust(spans) {
  const found = doubtful(spans);
  const said = found.slice(0, MOST_SPANS).map((span) => `${visible(span.text).slice(0, 40)} ${percent(span.probability, 0)}`);
  return said.join(", ") + (found.length > MOST_SPANS ? ` and ${found.length - MOST_SPANS} more` : "");
}
