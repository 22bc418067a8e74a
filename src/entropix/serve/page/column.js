// One conversation with one policy, and the view of its answers. Two of them stand side by side for a comparison.

import { Failure, answer } from "./api.js";
import { Choice } from "./choices.js";
import { count, el, number, percent } from "./tokens.js";
import { mount } from "./viewer.js";

const NONE = "none";
const REFUSED = new Set([400, 413, 422]); // it is the message that has to change

export class Column {
  // title: "A" or "B"; info: what the server can do; common(): what both columns share; changed(): tell the page
  constructor(title, info, { policy = null, common, changed }) {
    this.title = title;
    this.info = info;
    this.common = common;
    this.changed = changed;
    this.turns = [];
    this.before = [];
    this.mode = "regime";
    this.node = document.getElementById("column").content.firstElementChild.cloneNode(true);
    this.node.setAttribute("aria-label", `conversation ${title}`);
    this.form = this.node.querySelector("form");
    this.form.querySelector("h2").textContent = title;
    this.form.addEventListener("submit", (event) => event.preventDefault());
    this.form.addEventListener("keydown", (event) => event.key === "Escape" && this.close());
    const place = (kind) => this.form.querySelector(`[data-kind=${kind}]`);
    this.policy = new Choice(place("policy"), info.policies, { chosen: policy || info.policy });
    this.search = new Choice(place("search"), info.searches || [], { none: NONE, free: true, chosen: info.search });
    this.conversation = this.node.querySelector(".conversation");
    this.views = this.node.querySelector(".views");
    this.conversation.append(el("p", { class: "hint" }, "Every token of an answer will be tinted by how unsure the model was."));
    for (const button of this.form.querySelectorAll("[data-export]")) {
      button.addEventListener("click", () => this.exported(button.dataset.export));
    }
  }

  get running() {
    return this.turns.some((turn) => turn.stop);
  }

  // Whether what is set in this column can be sent; what cannot is shown.
  valid() {
    const wrong = [...this.form.elements].find((field) => field.willValidate && !field.validity.valid);
    if (!wrong) return true;
    wrong.closest("details").open = true;
    wrong.reportValidity();
    return false;
  }

  // Close what lies open over the conversation.
  close() {
    for (const open of this.form.querySelectorAll("details[open]")) {
      if (open.contains(document.activeElement)) open.querySelector("summary").focus();
      open.open = false;
    }
  }

  // The conversation up to a turn, as messages. Turns without an answer are no part of it.
  history(end) {
    const said = this.turns.slice(0, end).filter((turn) => turn.text);
    const messages = said.flatMap((turn) => [
      { role: "user", content: turn.prompt },
      { role: "assistant", content: turn.text },
    ]);
    return [...this.before, ...messages];
  }

  // Go on from another column's conversation.
  follow(other) {
    this.before = other.history(other.turns.length);
    const n = this.before.length / 2;
    if (n) this.conversation.append(el("p", { class: "hint" }, `Goes on from ${count(n, "turn")} of ${other.title}.`));
  }

  ask(prompt, seed) {
    return this.run(this.place(prompt), seed);
  }

  // What a reload gives back: the latest turns with their steps, within `room` characters, and earlier ones as messages.
  saved(room) {
    let kept = [];
    for (const turn of [...this.turns].reverse()) {
      const { prompt, text, seed, policy, parameters, system } = turn;
      const one = { prompt, text, seed, policy, parameters, system, data: turn.view.data() };
      room -= JSON.stringify(one).length;
      if (room < 0) break;
      kept = [one, ...kept];
    }
    return { policy: this.policy.name, before: this.history(this.turns.length - kept.length), turns: kept };
  }

  recall({ before, turns }) {
    this.before = before;
    if (before.length) this.conversation.append(el("p", { class: "hint" }, `Goes on from ${count(before.length / 2, "earlier turn")}.`));
    for (const { data, ...rest } of turns) {
      const turn = Object.assign(this.place(rest.prompt), rest, { result: data.result });
      turn.view.load(data);
      this.finish(turn, data.result ? null : "Ended early.");
      this.show(turn);
    }
    this.scroll(true);
  }

  // A turn without an answer yet, below the others.
  place(prompt) {
    this.conversation.querySelector(".hint:only-child")?.remove();
    const body = el("div", { class: "answer" });
    const foot = el("div", { class: "foot" });
    const view = el("div");
    const turn = { prompt, foot, holder: view, at: this.turns.length };
    turn.node = el("article", { class: "turn" }, el("p", { class: "user" }, prompt), body, foot);
    turn.view = mount(view, { thresholds: this.info.thresholds, text: body, mode: this.mode });
    turn.node.addEventListener("focusin", () => this.show(turn));
    turn.node.addEventListener("pointerover", () => !this.running && this.show(turn));
    this.turns.push(turn);
    this.conversation.append(turn.node);
    this.views.append(view);
    return turn;
  }

  again(seed) {
    const last = this.turns[this.turns.length - 1];
    if (last) return this.run(last, seed);
    return null;
  }

  // Answer a turn, for the first time or again. Never rejects: what goes wrong stands below the turn.
  async run(turn, seed) {
    const { system, maxTokens, key } = this.common();
    const stop = new AbortController();
    const messages = [...(system ? [{ role: "system", content: system }] : []), ...this.history(turn.at)];
    const spec = this.search.spec || NONE; // said, as the server may have a search of its own for who says nothing
    Object.assign(turn, { text: "", failed: null, stop, seed, policy: this.policy.name, parameters: this.policy.all, system, result: null });
    turn.foot.replaceChildren(el("p", { class: "waiting" }, "waiting for the first token …"));
    turn.view.begin({ prompt: turn.prompt, policy: turn.policy, model: this.info.model, seed });
    this.show(turn);
    this.scroll(true);
    this.changed();
    const request = {
      model: this.info.model,
      messages: [...messages, { role: "user", content: turn.prompt }],
      seed,
      max_tokens: maxTokens,
      entropix: { policy: turn.policy, parameters: this.policy.changed, search: spec, steps: true, leading: 8 },
    };
    try {
      for await (const event of answer(request, key, stop.signal)) {
        if (event.text) turn.text += event.text;
        if (event.result) {
          turn.result = { text: turn.text, ...event.result };
          turn.view.end(turn.result);
        }
        for (const step of event.steps || []) turn.view.add(step);
        if (event.steps) turn.foot.replaceChildren();
        this.scroll();
      }
      this.finish(turn);
    } catch (error) {
      if (error.name === "AbortError") this.finish(turn, "Stopped.");
      else this.fail(turn, error);
    } finally {
      turn.stop = null;
      this.scroll();
      this.changed(turn);
    }
  }

  finish(turn, note = null) {
    const steps = turn.view.data().steps;
    const parts = [turn.policy, turn.result?.search?.spec, `seed ${turn.seed}`, count(steps.length, "token")];
    if (turn.result) parts.push(`uncertainty ${percent(turn.result.uncertainty, 0)}`, `${number(turn.result.seconds, 1)} s`);
    const vote = turn.result?.search;
    const said = vote?.shares && Object.keys(vote.shares).length
      ? el("p", { class: "vote" }, `${vote.answer} · ${percent(turn.result.confidence, 0)} sure: ${turn.result.confidence_source}`)
      : "";
    turn.foot.replaceChildren(said, el("p", {}, [note, parts.filter(Boolean).join(" · ")].filter(Boolean).join(" ")));
  }

  fail(turn, error) {
    const known = error instanceof Failure;
    if (!known) console.error(error);
    const words = known ? error.message : "The page could not read the server's answer.";
    const detail = known ? error.detail : String(error.message);
    const retry = el("button", { type: "button" }, "Try again");
    retry.addEventListener("click", () => this.run(turn, turn.seed));
    const edit = el("button", { type: "button" }, "Edit the message");
    edit.addEventListener("click", () => this.node.dispatchEvent(new CustomEvent("edit", { detail: turn.prompt })));
    const last = turn === this.turns[this.turns.length - 1];
    const actions = el("div", { class: "actions" }, retry, last && REFUSED.has(error.status) ? edit : "");
    const box = el("div", { class: "failure", role: "alert" }, el("p", {}, words), detail ? el("p", { class: "detail" }, detail) : null, actions);
    turn.foot.replaceChildren(box);
    turn.failed = known ? error.status : 0;
  }

  // Take the last turn out, if it is this message and has no answer.
  forget(prompt) {
    const last = this.turns[this.turns.length - 1];
    if (!last || last.prompt !== prompt || last.failed === null || last.text) return;
    this.turns.pop();
    last.node.remove();
    last.holder.remove();
    if (this.turns.length) this.show(this.turns[this.turns.length - 1]);
  }

  stop() {
    for (const turn of this.turns) turn.stop?.abort();
  }

  // Put this turn's view where the views are.
  show(turn) {
    if (this.shown === turn) return;
    this.shown = turn;
    for (const other of this.turns) {
      other.holder.hidden = other !== turn;
      other.node.classList.toggle("shown", other === turn);
    }
  }

  tint(mode) {
    this.mode = mode;
    for (const turn of this.turns) turn.view.tint(mode);
  }

  // Keep the end in sight, unless the reader has scrolled up.
  scroll(force = false) {
    const { conversation } = this;
    const away = conversation.scrollHeight - conversation.scrollTop - conversation.clientHeight;
    if (force || away < 80) conversation.scrollTop = conversation.scrollHeight;
  }

  // Everything of this conversation as a trace.
  trace() {
    const turns = this.turns.filter((turn) => turn.view.data().steps.length || turn.result);
    const first = turns[0] || { policy: this.policy.name, parameters: this.policy.all, seed: null };
    const header = {
      model: this.info.model,
      fingerprint: this.info.fingerprint,
      engine: this.info.engine,
      policy: first.policy,
      parameters: first.parameters,
      seed: first.seed,
      profile: this.info.profile,
      thresholds: this.info.thresholds,
      version: this.info.version || "",
      notes: this.info.notes || [],
      ...(first.system ? { system: first.system } : {}),
    };
    return { header, answers: turns.map((turn) => ({ prompt: turn.prompt, steps: turn.view.data().steps, result: turn.result })) };
  }

  async exported(kind) {
    const { lines, page, save } = await import("./export.js");
    const { header, answers } = this.trace();
    const name = `entropix-${this.title}-${header.policy}`;
    try {
      if (kind === "jsonl") save(`${name}.jsonl`, lines(header, answers), "application/x-ndjson");
      else save(`${name}.html`, await page(header, answers), "text/html");
    } catch (error) {
      this.changed(null, `The export failed: ${error.message}.`);
    }
  }
}
