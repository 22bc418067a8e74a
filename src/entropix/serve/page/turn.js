// One message with its answer, or several takes of it: the text, the vote, the result in a line, what went wrong.

import { Failure } from "./api.js";
import { called } from "./calls.js";
import { unsureOf } from "./takes.js";
import { count, el, number, percent, visible } from "./tokens.js";
import { mount } from "./viewer.js";
import { standing, vote } from "./votes.js";

const REFUSED = new Set([400, 413, 422]); // it is the message that has to change
const SURE = 0.999; // of a token above which there is nothing to say about doubt

export class Turn {
  // on: what the column does: edit(prompt), ask(prompt, turn), again(turn), force(turn, index, candidate), shown(turn)
  // known: notes of every answer, which are said elsewhere
  constructor(prompt, { thresholds, mode, formatted, on, known = [] }) {
    this.prompt = prompt;
    this.known = known;
    this.on = on;
    this.takes = [];
    this.now = null;
    this.foot = el("div", { class: "foot" });
    this.ballots = el("div");
    this.user = el("div", { class: "said-by-you" });
    const body = el("div", { class: "answer" });
    this.holder = el("div");
    this.node = el("article", { class: "turn" }, this.user, body, this.ballots, this.foot);
    const onForce = on.force ? (index, candidate) => on.force(this, index, candidate) : null;
    this.view = mount(this.holder, { thresholds, text: body, mode, formatted, onForce });
    this.showPrompt();
  }

  get stop() {
    return this.now?.stop || null;
  }

  get text() {
    return this.now?.text || "";
  }

  get failed() {
    return this.now ? this.now.failed : null;
  }

  // the message

  showPrompt() {
    const edit = el("button", { type: "button", class: "quiet", title: "change this message and ask again from here" }, "Edit");
    edit.addEventListener("click", () => this.change());
    this.user.replaceChildren(el("p", { class: "user" }, this.prompt), edit);
  }

  change() {
    const area = el("textarea", { rows: Math.min(this.prompt.split("\n").length + 1, 8), "aria-label": "the message, to be changed" });
    area.value = this.prompt;
    const ask = el("button", { class: "main" }, "Ask again");
    const leave = el("button", { type: "button" }, "Cancel");
    const form = el("form", { class: "change" }, area, el("div", { class: "actions" }, ask, leave));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (area.value.trim()) this.on.ask(area.value, this);
    });
    form.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.showPrompt();
      if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.target !== area) return;
      event.preventDefault();
      form.requestSubmit();
    });
    leave.addEventListener("click", () => this.showPrompt());
    this.user.replaceChildren(form);
    area.focus();
  }

  // the answer

  begin(take, kept, model) {
    this.keep();
    this.now = { text: "", failed: null, result: null, note: null, kept, ...take };
    this.takes.push(this.now);
    this.ballots.replaceChildren();
    this.foot.replaceChildren(el("p", { class: "waiting" }, "waiting for the first token …"));
    this.view.begin({ prompt: this.prompt, policy: take.policy, model, seed: take.seed });
    for (const step of kept) this.view.add(step);
    this.now.text = kept.map((step) => step.text).join("");
  }

  keep() {
    if (this.now) this.now.data = this.view.data();
  }

  progress(state) {
    this.ballots.replaceChildren(standing(state));
    this.foot.replaceChildren();
  }

  finish(note = this.now.note) {
    const { now } = this;
    now.note = note;
    const { result } = now;
    const { steps } = this.view.data();
    const parts = [now.policy, now.effort && `effort ${now.effort}`, now.risk && `risk ${percent(now.risk, 0)}`, !now.effort && result?.search?.spec, `seed ${now.seed}`, count(steps.length, "token")];
    if (result) parts.push(`uncertainty ${percent(unsureOf(result), 0)} a token`, `${number(result.seconds, 1)} s`);
    const held = result && vote(result, (branch) => this.view.read(branch));
    this.ballots.replaceChildren(...(held ? [held] : []), ...called(now));
    const line = [note, parts.filter(Boolean).join(" · ")].filter(Boolean).join(" ");
    const notes = (result?.notes || []).filter((one) => !this.known.includes(one)).map((one) => el("p", { class: "detail" }, one));
    this.foot.replaceChildren(doubt(steps), el("p", { class: "line" }, line), ...notes, this.switcher());
  }

  // The takes, where there are several.
  switcher() {
    if (this.takes.length < 2) return "";
    const at = this.takes.indexOf(this.now);
    const go = (to, sign, name) => {
      const button = el("button", { type: "button", class: "quiet", "aria-label": name, disabled: !this.takes[to] }, sign);
      button.addEventListener("click", () => this.take(to));
      return button;
    };
    const words = ` take ${at + 1} of ${this.takes.length}${this.now.why ? `: ${this.now.why}` : ""} `;
    return el("p", { class: "takes" }, go(at - 1, "‹", "the take before"), words, go(at + 1, "›", "the next take"));
  }

  take(at) {
    if (this.stop) return;
    this.keep();
    this.now = this.takes[at];
    this.view.load(this.now.data);
    if (this.now.error) this.fail(this.now.error);
    else this.finish();
    this.on.shown(this);
  }

  fail(error) {
    const known = error instanceof Failure;
    if (!known) console.error(error);
    this.now.error = error;
    this.now.failed = known ? error.status : 0;
    const words = known ? error.message : "The page could not read the server's answer.";
    const detail = known ? error.detail : String(error.message);
    const retry = el("button", { type: "button" }, "Try again");
    retry.addEventListener("click", () => this.on.again(this));
    const edit = el("button", { type: "button" }, "Edit the message");
    edit.addEventListener("click", () => this.on.edit(this.prompt));
    const actions = el("div", { class: "actions" }, retry, REFUSED.has(error.status) && this.on.last(this) ? edit : "");
    const box = el("div", { class: "failure", role: "alert" }, el("p", {}, words), detail ? el("p", { class: "detail" }, detail) : null, actions);
    this.ballots.replaceChildren();
    this.foot.replaceChildren(box, this.switcher());
  }
}

// In words, where the model was least sure.
function doubt(steps) {
  const own = steps.filter((step) => Number.isFinite(step.logprob) && step.text.trim() && !step.forced);
  if (!own.length) return "";
  const least = own.reduce((low, step) => (step.logprob < low.logprob ? step : low));
  const p = Math.exp(least.logprob);
  if (p > SURE) return el("p", { class: "doubt" }, "Sure of every token.");
  const other = least.rank > 0 && least.leading?.length ? `; likelier was “${visible(least.leading[0][1])}”` : "";
  return el("p", { class: "doubt" }, `Least sure of “${visible(least.label)}”: ${percent(p, p < 0.01 || p > 0.99 ? 1 : 0)}${other}.`);
}
