// One conversation with one policy, and the view of its answers. Two of them stand side by side for a comparison.

import { answer } from "./api.js";
import { gather } from "./calls.js";
import { Choice } from "./choices.js";
import { Risk } from "./risk.js";
import { startScreen } from "./start.js";
import { forced, lastText, whole } from "./takes.js";
import { count, el, visible } from "./tokens.js";
import { Turn } from "./turn.js";

const NONE = "none";

export class Column {
  // title: "A" or "B"; info: what the server can do; common(): what both columns share; changed(): tell the page;
  // on: ask(question, effort), for an example; edit(prompt); askFrom(turn, prompt)
  constructor(title, info, { policy = null, common, changed, on, mode, formatted = false }) {
    Object.assign(this, { title, info, common, changed, on, mode, formatted, turns: [], before: [] });
    this.node = document.getElementById("column").content.firstElementChild.cloneNode(true);
    this.node.setAttribute("aria-label", `conversation ${title}`);
    this.form = this.node.querySelector("form");
    this.form.querySelector("h2").textContent = title;
    this.form.addEventListener("submit", (event) => event.preventDefault());
    this.form.addEventListener("keydown", (event) => event.key === "Escape" && this.close());
    const place = (kind) => this.form.querySelector(`[data-kind=${kind}]`);
    this.policy = new Choice(place("policy"), info.policies, { chosen: info.policy });
    this.usual = this.policy.spec;
    if (policy) this.policy.set(policy);
    this.search = new Choice(place("search"), info.searches || [], { none: NONE, free: true, chosen: info.search });
    this.effort = new Choice(place("effort"), info.effort_levels || [], { chosen: info.effort || NONE });
    this.risk = new Risk(place("risk"), this.effort);
    for (const kind of ["effort", "risk"]) place(kind).hidden = !info.effort_levels?.length;
    for (const event of ["change", "chosen"]) this.effort.select.addEventListener(event, () => this.tried());
    this.tried();
    this.conversation = this.node.querySelector(".conversation");
    this.views = this.node.querySelector(".views");
    this.conversation.append(startScreen(this, on.ask));
    for (const button of this.form.querySelectorAll("[data-export]")) {
      button.addEventListener("click", () => this.exported(button.dataset.export));
    }
  }

  get running() {
    return this.turns.some((turn) => turn.stop);
  }

  get level() {
    return this.effort.name && this.effort.name !== NONE ? this.effort.name : null;
  }

  // Effort is a search of its own, and draws its texts with a policy of its own unless another was chosen.
  tried() {
    const ballots = this.info.effort_policy;
    this.search.select.disabled = this.level !== null;
    this.search.select.title = this.level ? "effort is a search of its own" : this.search.option?.summary || "";
    if (this.level && ballots && this.policy.spec === this.usual) {
      this.policy.set(ballots);
      this.lent = this.policy.spec;
    } else if (!this.level && this.lent) {
      if (this.policy.spec === this.lent) this.policy.set(this.usual);
      this.lent = null;
    }
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
    if (n) this.hint(`Goes on from ${count(n, "turn")} of ${other.title}.`);
  }

  hint(words) {
    this.begun();
    this.conversation.append(el("p", { class: "hint" }, words));
  }

  begun() {
    this.conversation.querySelector(".start")?.remove();
  }

  ask(prompt, seed) {
    return this.run(this.place(prompt), seed);
  }

  // What a reload gives back: the latest turns with their steps, within `room` characters, and earlier ones as messages.
  saved(room) {
    let kept = [];
    for (const turn of [...this.turns].reverse()) {
      const { text, seed, policy, parameters, system, effort, risk } = turn.now;
      const one = { prompt: turn.prompt, text, seed, policy, parameters, system, effort, risk, data: turn.view.data() };
      room -= JSON.stringify(one).length;
      if (room < 0) break;
      kept = [one, ...kept];
    }
    const { policy, level } = this;
    return { policy: policy.spec, effort: level, risk: this.risk.value, before: this.history(this.turns.length - kept.length), turns: kept };
  }

  // header: of a trace from a file, which has its own thresholds, and tokens that may be another model's
  recall({ before, turns }, header = null) {
    this.before = before;
    if (before.length) this.hint(`Goes on from ${count(Math.floor(before.length / 2), "earlier turn")}.`);
    for (const { data, prompt, ...rest } of turns) {
      const turn = this.place(prompt, header);
      turn.begin({ ...rest, stop: null }, [], this.info.model);
      Object.assign(turn.now, rest, { result: data.result });
      turn.view.load(data);
      turn.finish(data.result ? null : "Ended early.");
      this.show(turn);
    }
    this.scroll(true);
  }

  // A turn without an answer yet, below the others.
  place(prompt, header = null) {
    this.begun();
    const foreign = header !== null && header.fingerprint !== this.info.fingerprint;
    const on = {
      ask: (text, turn) => this.on.askFrom(this, turn, text),
      edit: this.on.edit,
      again: (turn) => this.run(turn, turn.now.seed, turn.now.kept, turn.now.why),
      force: foreign ? null : (turn, index, candidate) => this.force(turn, index, candidate),
      last: (turn) => turn === this.turns[this.turns.length - 1],
      shown: () => this.changed(),
    };
    const thresholds = header ? header.thresholds || null : this.info.thresholds;
    const turn = new Turn(prompt, { thresholds, mode: this.mode, formatted: this.formatted, on, known: this.info.notes || [] });
    turn.node.addEventListener("focusin", () => this.show(turn));
    turn.node.addEventListener("pointerover", () => !this.running && this.show(turn));
    this.turns.push(turn);
    this.conversation.append(turn.node);
    this.views.append(turn.holder);
    return turn;
  }

  again(seed) {
    const last = this.turns[this.turns.length - 1];
    if (last) return this.run(last, seed);
    return null;
  }

  // Go on from a token of a shown text that a person has chosen, with the noise that the answer had.
  force(turn, index, candidate) {
    if (this.running) return null;
    if (this.info.end_tokens?.includes(candidate.token)) {
      this.changed(null, `“${visible(candidate.label)}” ends the answer, so nothing goes on from it`);
      return null;
    }
    const kept = forced(turn.view.steps, index, candidate);
    return this.run(turn, turn.now.seed ?? 0, kept, `“${visible(candidate.label)}” at token ${index + 1}`);
  }

  // Answer a turn, for the first time or again. Never rejects: what goes wrong stands below the turn.
  // kept: the steps that the answer begins with; why: what is special about this take.
  async run(turn, seed, kept = [], why = "") {
    const { system, maxTokens, key, reproducible, tools } = this.common();
    const stop = new AbortController();
    const messages = [...(system ? [{ role: "system", content: system }] : []), ...this.history(this.turns.indexOf(turn))];
    const going = kept.length > 0; // what goes on from a token is one text
    const effort = going ? null : this.level;
    const risk = effort && this.risk.value;
    const spec = going ? null : this.search.spec;
    turn.begin({ stop, seed, policy: this.policy.name, parameters: this.policy.all, system, effort, risk, why }, kept.map((step) => ({ ...step })), this.info.model);
    const take = turn.now;
    this.show(turn);
    this.scroll(true);
    this.changed();
    const request = {
      model: this.info.model,
      messages: [...messages, { role: "user", content: turn.prompt }],
      seed,
      max_tokens: maxTokens && Math.max(maxTokens - kept.length, 1),
      ...(tools && !going ? { tools } : {}), // what goes on from a token is text
      entropix: {
        policy: take.policy,
        parameters: this.policy.changed,
        // said, as the server may have a search or an effort of its own for who says nothing
        ...(risk ? { risk } : {}),
        ...(effort ? { effort } : { search: spec || NONE }),
        ...(effort || spec ? { progress: true } : {}),
        ...(going ? { prefix: kept.map((step) => step.token) } : {}),
        ...(reproducible === null ? {} : { reproducible }),
        steps: true,
        leading: 8,
      },
    };
    try {
      for await (const event of answer(request, key, stop.signal)) this.read(turn, event);
      this.adding(() => turn.finish());
    } catch (error) {
      this.adding(() => (error.name === "AbortError" ? turn.finish("Stopped.") : turn.fail(error)));
    } finally {
      take.stop = null;
      this.changed(turn);
    }
  }

  read(turn, { prefix, text, calls, steps, progress, certain, result }) {
    const take = turn.now;
    const { kept } = take;
    if (prefix !== undefined && kept.length) {
      kept[kept.length - 1].text = lastText(kept, prefix);
      turn.view.show(turn.view.own);
      take.text = kept.map((step) => step.text).join("");
    }
    if (text) take.text += text;
    if (calls) gather((take.calls ??= []), calls);
    if (certain) take.certain = certain;
    if (progress) turn.progress(progress);
    for (const step of steps || []) turn.view.add(kept.length ? { ...step, index: step.index + kept.length } : step);
    if (steps) turn.foot.replaceChildren();
    if (result) {
      take.result = { ...whole(result, kept, turn.view.data().steps), text: take.text };
      turn.view.end(take.result);
    }
    this.scroll();
  }

  // Take the last turn out, if it is this message and has no answer.
  forget(prompt) {
    const last = this.turns[this.turns.length - 1];
    if (last && last.prompt === prompt && last.failed !== null && !last.text) this.drop(1);
  }

  // Take out the last `n` turns, shown ones and earlier ones.
  drop(n) {
    for (const turn of this.turns.splice(Math.max(this.turns.length - n, 0))) {
      turn.stop?.abort();
      turn.node.remove();
      turn.holder.remove();
      n--;
    }
    this.before = this.before.slice(0, Math.max(this.before.length - 2 * n, 0));
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

  format(on) {
    this.formatted = on;
    for (const turn of this.turns) turn.view.format(on);
  }

  // Whether the end of the conversation is in sight, or nearly.
  get atEnd() {
    const { scrollHeight, scrollTop, clientHeight } = this.conversation;
    return scrollHeight - scrollTop - clientHeight < 80;
  }

  toEnd() {
    this.conversation.scrollTop = this.conversation.scrollHeight;
  }

  // Add to the end, which stays in sight if it was; tokens are drawn with the next frame.
  adding(add) {
    const before = this.atEnd;
    add();
    if (!before) return;
    this.toEnd();
    requestAnimationFrame(() => this.toEnd());
  }

  // Keep the end in sight, unless the reader has scrolled up. On a phone the page itself scrolls, to where an answer begins.
  scroll(force = false) {
    if (force || this.atEnd) this.toEnd();
    const last = this.turns[this.turns.length - 1];
    if (force && this.turns.length > 1 && getComputedStyle(this.conversation).overflowY === "visible") last.node.scrollIntoView();
  }

  // Everything of this conversation as a trace.
  trace() {
    const turns = this.turns.filter((turn) => turn.view.data().steps.length || turn.now.result);
    const first = turns[0]?.now || { policy: this.policy.name, parameters: this.policy.all, seed: null };
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
    return { header, answers: turns.map((turn) => ({ prompt: turn.prompt, steps: turn.view.data().steps, result: turn.now.result })) };
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
