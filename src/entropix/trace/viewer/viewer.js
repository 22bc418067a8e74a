// The view of an answer's uncertainty: its text tinted token by token, two charts, one token in detail, a summary.
//
//   const view = mount(element, { thresholds, text });   text: another element for the tinted text; formatted: as
//                                                        Markdown; onForce(index, candidate): another token was chosen
//   view.begin({ prompt, policy, … }); view.add(step); …; view.end(result);    as an answer streams
//   view.load({ prompt, steps, result });                                      all at once
//   view.data();                                                               { prompt, …, steps, result }
//
// Steps and results are the records of a trace (docs/traces.md).

import { Scatter, Strip, regimeAt } from "./charts.js";
import { detail } from "./detail.js";
import { Space } from "./space.js";
import { forks, path, summary, tree } from "./summary.js";
import { markSpans } from "./spans.js";
import { Text } from "./text.js";
import { MODES, count, el, legend, spoken } from "./tokens.js";

const MOVES = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 1, ArrowUp: -1, PageDown: 20, PageUp: -20 };

export function mount(element, options = {}) {
  return new View(element, options);
}

class View {
  constructor(element, { thresholds = null, text = null, mode = MODES[0], formatted = false, onForce = null }) {
    this.thresholds = thresholds;
    this.onForce = onForce;
    this.root = element;
    element.classList.add("exv");
    this.body = new Text();
    this.body.format(formatted);
    this.text = this.body.node;
    this.panel = el("section", { class: "exv-detail", "aria-label": "token" });
    this.about = el("section", { class: "exv-summary", "aria-label": "answer" });
    this.tree = el("div", { class: "exv-tree" });
    this.note = el("p", { class: "exv-note", role: "status" });
    this.strip = new Strip();
    this.scatter = new Scatter();
    this.space = new Space({ hover: (index) => this.hover(index), pin: (index) => this.reveal(index) });
    this.legend = el("div", { class: "exv-legend" });
    const charts = el("div", { class: "exv-charts" }, this.strip.svg);
    const pair = el("div", { class: "exv-pair" }, this.panel, el("div", { class: "exv-plane" }, this.planes(), this.scatter.svg, this.space.node));
    element.replaceChildren(this.modes(mode), this.legend, this.note);
    if (text) text.replaceChildren(this.text);
    else element.append(this.text);
    element.append(charts, pair, this.about, this.tree);
    this.tint(mode);
    this.listen();
    this.begin({});
  }

  // the contract with whoever has the data

  begin(header) {
    this.header = header;
    this.own = [];
    this.result = null;
    this.branch = null;
    this.fork = new Map();
    this.pinned = null;
    this.hovered = null;
    this.show(this.own);
  }

  add(step) {
    this.own.push(step);
    if (this.branch !== null) return;
    this.append(step, this.own.length - 1);
    this.later();
  }

  end(result) {
    this.result = result;
    this.tree.replaceChildren();
    const search = result && result.search;
    if (search && search.branches.length > 1) this.tree.append(tree(search, (number) => this.read(number)));
    this.show(this.own, this.pinned);
  }

  load({ steps = [], result = null, ...header }) {
    this.begin(header);
    this.own = steps;
    this.end(result);
  }

  data() {
    return { ...this.header, steps: this.own, result: this.result };
  }

  // what is on the screen

  // Show these steps: the answer's, or those of one branch.
  show(steps, pinned = null) {
    this.steps = steps;
    this.fork = forks(this.result && this.result.search, steps);
    const said = steps.map((step) => step.text).join("");
    const text = this.result && this.branch === null ? this.result.text : "";
    // what no step brought, such as the rest of a trace that was cut off
    this.body.show(steps, text.startsWith(said) ? text.slice(said.length) : "", this.fork);
    this.spans = this.branch === null && this.result ? markSpans(this.body, this.result.spans) : new Map();
    this.pinned = this.hovered = null;
    this.lit = [];
    this.stop = this.body.first;
    this.draw();
    if (pinned !== null && pinned < steps.length) this.pin(pinned);
    else this.mark();
  }

  append(step, index) {
    this.body.append(step);
    if (index > 0 || this.body.formatted) return;
    this.stop = this.body.first;
    this.stop.tabIndex = 0;
  }

  // As Markdown, or as the text is.
  format(on) {
    this.body.format(on);
    this.relight();
  }

  // The text has been drawn anew: what pointed at its elements points at the new ones.
  relight() {
    this.lit = [];
    this.stop = (this.pinned !== null && this.node(this.pinned)) || this.body.first;
    if (this.stop) this.stop.tabIndex = 0;
    this.mark();
  }

  // Show the text of one branch of the search, or the answer again: null, or the number of the branch that was kept.
  read(number) {
    const branch = this.result.search.branches.find((one) => one.number === number);
    this.branch = branch && !branch.kept ? number : null;
    this.show(this.branch === null ? this.own : path(this.result.search, number));
    this.text.scrollIntoView({ block: "nearest" });
  }

  // Draw soon. Of a long answer that streams the charts are drawn less often, so that they take a fifth of the time.
  later() {
    if (this.waiting) return;
    this.waiting = true;
    const soon = () => requestAnimationFrame(() => {
      const start = performance.now();
      this.waiting = false;
      this.draw();
      this.mark();
      this.rest = start + 5 * (performance.now() - start);
    });
    const rest = (this.rest || 0) - performance.now();
    if (rest > 16) setTimeout(soon, rest);
    else soon();
  }

  draw() {
    const t = this.thresholds;
    this.strip.draw(this.steps, t, this.fork.keys());
    if (this.in3d) this.space.draw(this.steps, t, this.mode);
    else this.scatter.draw(this.steps, t);
    if (this.body.stale) {
      this.body.refresh();
      this.relight();
    }
    this.about.replaceChildren(...summary(this.header, this.own, this.result));
    const odd = t && this.steps.some((s) => Number.isFinite(s.entropy) && Number.isFinite(s.varentropy)
      && s.action !== "inject" && regimeAt(s.entropy, s.varentropy, t) !== s.regime);
    const notes = [];
    if (!t && this.steps.length) notes.push("The thresholds of the regimes are not in this trace, so none are drawn.");
    if (odd) notes.push("Some regimes follow another rule than the thresholds drawn: the policy has its own.");
    this.note.replaceChildren(...notes);
    if (this.branch !== null) {
      const back = el("button", { type: "button" }, "Back to the answer");
      back.addEventListener("click", () => this.read(null));
      this.note.append(` Branch ${this.branch} of the search, which was not kept. `, back);
    }
    this.root.classList.toggle("empty", this.steps.length === 0);
  }

  modes(chosen) {
    const group = el("div", { class: "exv-modes", role: "radiogroup", "aria-label": "tint tokens by" }, "tint by");
    this.radios = MODES.map((mode) => {
      const radio = el("button", { type: "button", role: "radio", "data-mode": mode }, mode);
      radio.addEventListener("click", () => this.chosen(mode));
      group.append(radio);
      return radio;
    });
    group.addEventListener("keydown", (event) => {
      const move = MOVES[event.key];
      if (Math.abs(move) !== 1) return;
      event.preventDefault();
      const at = (MODES.indexOf(this.mode) + move + MODES.length) % MODES.length;
      this.chosen(MODES[at]);
      this.radios[at].focus();
    });
    return group;
  }

  // The plane of entropy and varentropy, or the space of both along the answer.
  planes() {
    const group = el("div", { class: "exv-modes", role: "group", "aria-label": "dimensions" });
    for (const [name, on] of [["2-D", false], ["3-D", true]]) {
      const button = el("button", { type: "button", "aria-pressed": String(!on) }, name);
      button.addEventListener("click", () => {
        this.in3d = on;
        for (const one of group.children) one.setAttribute("aria-pressed", String(one === button));
        this.scatter.svg.toggleAttribute("hidden", on);
        this.space.node.hidden = !on;
        this.root.classList.toggle("in-3d", on);
        this.draw();
        this.mark();
      });
      group.append(button);
    }
    return group;
  }

  // A person has chosen a mode; whoever shows several views may want it in all of them.
  chosen(mode) {
    this.tint(mode);
    this.root.dispatchEvent(new CustomEvent("tint", { bubbles: true, detail: mode }));
  }

  // Tint by "regime", "entropy" or "probability".
  tint(mode) {
    this.mode = mode;
    for (const one of MODES) {
      this.text.classList.toggle(`by-${one}`, one === mode);
      this.legend.classList.toggle(`by-${one}`, one === mode);
    }
    for (const radio of this.radios) {
      const on = radio.dataset.mode === mode;
      radio.setAttribute("aria-checked", String(on));
      radio.tabIndex = on ? 0 : -1;
    }
    this.legend.replaceChildren(legend(mode));
    if (this.in3d) this.draw();
  }

  // pointing: a hovered token for the moment, a pinned one until another is; text and charts alike

  get current() {
    return this.hovered ?? this.pinned;
  }

  hover(index) {
    if (index === this.hovered) return;
    this.hovered = index;
    this.mark();
  }

  pin(index) {
    this.pinned = index;
    this.hovered = null;
    // one token is in the tab order: the pinned one, or the first
    if (this.stop) this.stop.tabIndex = -1;
    this.stop = this.node(index ?? 0);
    if (this.stop) this.stop.tabIndex = 0;
    this.mark();
  }

  // The element of a token; null where it has none, as signs of Markdown have.
  node(index) {
    return this.body.element(index);
  }

  reveal(index) {
    this.pin(index);
    this.node(index)?.scrollIntoView({ block: "nearest" });
  }

  mark() {
    const index = this.current !== null && this.current < this.steps.length ? this.current : null;
    for (const node of this.lit) {
      node.classList.remove("on");
      node.removeAttribute("aria-selected");
    }
    const step = index === null ? null : this.steps[index];
    const words = step && spoken(step, index);
    this.lit = step ? this.body.pieces(index) : [];
    for (const node of this.lit) {
      node.classList.add("on");
      node.setAttribute("aria-selected", "true");
      node.setAttribute("aria-label", words);
    }
    this.strip.cursor(index, words);
    this.scatter.cursor(index);
    if (this.in3d) this.space.cursor(index);
    this.scatter.svg.setAttribute("aria-label", `entropy against varentropy of ${count(this.steps.length, "token")}`);
    const key = step ? `${this.branch}/${index}/${this.fork.get(index)?.length}` : null;
    if (key === this.shown && this.panel.hasChildNodes()) return;
    this.shown = key;
    this.panel.classList.toggle("open", step !== null);
    if (!step) {
      const hint = "Point at a token, or tab to the text and use the arrow keys, to see why it is there.";
      this.panel.replaceChildren(el("p", { class: "hint" }, hint));
      return;
    }
    const close = el("button", { type: "button", class: "close", "aria-label": "close" }, "×");
    close.addEventListener("click", () => this.pin(null));
    const branches = this.fork.get(index) || [];
    const onForce = this.onForce && ((candidate) => this.onForce(index, candidate));
    const context = { thresholds: this.thresholds, branches, onBranch: (number) => this.read(number), onForce, span: this.spans.get(index) };
    this.panel.replaceChildren(close, ...detail(step, index, context));
  }

  listen() {
    const token = (event) => this.body.at(event);
    // a finger points by touching; without this, its emulated hover would stay behind
    const mouse = (event) => event.pointerType !== "touch";
    this.text.addEventListener("pointerover", (event) => mouse(event) && this.hover(token(event)));
    this.text.addEventListener("pointerleave", () => this.hover(null));
    this.text.addEventListener("focusin", (event) => {
      const index = token(event);
      if (index !== null && index !== this.pinned) this.pin(index);
    });
    this.text.addEventListener("click", (event) => {
      const index = token(event);
      if (index !== null) event.target.closest(".t[data-i]").focus({ preventScroll: true });
    });
    const charts = [
      [this.strip.svg, (event) => this.strip.at(event.clientX)],
      [this.scatter.svg, (event) => this.scatter.at(event.clientX, event.clientY)],
    ];
    for (const [svg, at] of charts) {
      svg.addEventListener("pointermove", (event) => mouse(event) && this.hover(at(event)));
      svg.addEventListener("pointerleave", () => this.hover(null));
      svg.addEventListener("click", (event) => {
        const index = at(event);
        if (index !== null) this.reveal(index);
      });
    }
    for (const place of [this.text, this.strip.svg]) {
      place.addEventListener("keydown", (event) => this.key(event, place === this.text));
    }
    this.panel.addEventListener("keydown", (event) => event.key === "Escape" && this.pin(null));
    new ResizeObserver(() => this.later()).observe(this.root);
  }

  key(event, focus) {
    if (event.ctrlKey || event.altKey || event.metaKey || !this.steps.length) return;
    if (event.key === "Escape") {
      this.pin(null);
      return;
    }
    const last = this.steps.length - 1;
    const ends = { Home: 0, End: last };
    const move = MOVES[event.key];
    if (!(event.key in ends) && move === undefined) return;
    event.preventDefault();
    const from = this.current ?? (move < 0 ? last + 1 : -1);
    const index = ends[event.key] ?? Math.min(Math.max(from + move, 0), last);
    this.pin(index);
    if (focus) this.node(index)?.focus();
    else this.node(index)?.scrollIntoView({ block: "nearest" });
  }
}
