// An answer that goes on from a place of another: what is kept of that one, and what is known of both together.

// The steps before a place and the token that was chosen there. candidate: { token, label, before, rank }.
export function forced(steps, index, { token, label, before, rank }) {
  const here = { ...steps[index], token, label, text: label, logprob: before > 0 ? Math.log(before) : null, rank, drawn: [], candidates: 1 };
  Object.assign(here, { action: "sample", temperature: null, top_k: null, top_p: null, min_p: null, horizon: null, forced: true });
  return [...steps.slice(0, index), here];
}

// What the last of the kept tokens says, as the server reads them all.
export function lastText(kept, prefix) {
  const before = kept.slice(0, -1).map((step) => step.text).join("");
  return prefix.startsWith(before) ? prefix.slice(before.length) : kept[kept.length - 1].text;
}

// The result of an answer with the steps that it goes on from: what is read off tokens is read off all of them.
// Per token, as a text's own probability says little but its length; of a trace from before there were both, the one it has.
export const unsureOf = (result) => result.token_uncertainty ?? result.uncertainty;

export function whole(result, kept, steps) {
  if (!kept.length) return result;
  const said = steps.map((step) => step.logprob).filter((value) => Number.isFinite(value));
  const surprisal = -said.reduce((sum, value) => sum + value, 0);
  const unsure = said.length ? 1 - Math.exp(-surprisal / said.length) : 0;
  const entropies = steps.map((step) => step.entropy).filter((value) => Number.isFinite(value));
  const shift = [...kept.map((step) => step.text).join("")].length; // characters are code points there
  const note = `the first ${kept.length} tokens were given: those before are another answer's, and the last was put there by a person`;
  return {
    ...result,
    uncertainty: result.search?.ballots ? result.uncertainty : 1 - Math.exp(-surprisal),
    token_uncertainty: unsure,
    uncertainties: {}, // they are of what follows alone
    surprisal,
    mean_entropy: entropies.length ? entropies.reduce((sum, value) => sum + value, 0) / entropies.length : 0,
    confidence: result.search?.ballots ? result.confidence : Math.exp(-surprisal),
    spans: (result.spans || []).map((span) => ({ ...span, start: span.start + shift, end: span.end + shift, first: span.first + kept.length, last: span.last + kept.length })),
    notes: [...(result.notes || []), note],
  };
}
