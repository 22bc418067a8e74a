// An answer's text, token by token: as it is, or formatted as Markdown with every token still in its place.

import { markdown } from "./markdown.js";
import { el, tokenElement } from "./tokens.js";

export class Text {
  constructor() {
    this.node = el("div", { class: "exv-text", role: "listbox", "aria-label": "answer, token by token" });
    this.node.setAttribute("aria-orientation", "horizontal");
    this.formatted = false;
    this.show([], "", new Map());
  }

  // rest: what no step brought; forks: what else was tried, by the index of a token
  show(steps, rest, forks) {
    this.steps = [...steps];
    this.rest = rest;
    this.forks = forks;
    this.marks = new Map();
    this.draw();
  }

  append(step) {
    this.steps.push(step);
    if (this.formatted) this.stale = true;
    else this.node.append(this.token(step, this.steps.length - 1));
  }

  format(on) {
    if (on === this.formatted) return;
    this.formatted = on;
    this.draw();
  }

  // Formatted text is made anew as it grows; whoever shows it says when there is time for that.
  refresh() {
    if (this.stale) this.draw();
  }

  draw() {
    this.stale = false;
    this.node.classList.toggle("formatted", this.formatted);
    if (this.formatted) this.node.replaceChildren(...this.structure());
    else this.node.replaceChildren(...this.steps.map((step, index) => this.token(step, index)), this.rest);
    this.found = null;
    for (const [index, classes] of this.marks) this.pieces(index).forEach((piece) => piece.classList.add(...classes));
    if (this.first) this.first.tabIndex = 0;
  }

  token(step, index, text = step.text) {
    const node = tokenElement(step, index);
    if (text !== step.text) node.textContent = text;
    if (this.forks.has(index)) node.classList.add("forked");
    this.found = null;
    return node;
  }

  structure() {
    const starts = [];
    let at = 0;
    for (const step of this.steps) {
      starts.push(at);
      at += step.text.length;
    }
    const source = this.steps.map((step) => step.text).join("") + this.rest;
    let next = 0; // leaves come in the order of the text
    const leaf = ([from, to]) => {
      const out = [];
      while (next > 0 && starts[next - 1] + this.steps[next - 1].text.length > from) next--;
      while (next < this.steps.length && starts[next] + this.steps[next].text.length <= from) next++;
      for (; next < this.steps.length && starts[next] < to; next++) {
        const step = this.steps[next];
        const text = step.text.slice(Math.max(from - starts[next], 0), to - starts[next]);
        if (text) out.push(this.token(step, next, text));
      }
      if (to > at) out.push(source.slice(Math.max(from, at), to));
      return out;
    };
    const made = (node) => {
      if (Array.isArray(node)) return leaf(node);
      const { tag, attributes = {}, children } = node;
      return [el(tag, attributes, ...children.flatMap(made))];
    };
    const out = markdown(source).flatMap(made);
    // an end that adds no text is shown all the same
    const last = this.steps.length - 1;
    if (last >= 0 && this.steps[last].text === "") out.push(this.token(this.steps[last], last));
    return out;
  }

  // A class on all of a token that stays when the text is drawn anew.
  mark(index, name) {
    this.marks.set(index, [...(this.marks.get(index) || []), name]);
    this.pieces(index).forEach((piece) => piece.classList.add(name));
  }

  unmark(name) {
    for (const [index, names] of this.marks) {
      this.marks.set(index, names.filter((one) => one !== name));
      this.pieces(index).forEach((piece) => piece.classList.remove(name));
    }
  }

  // The elements of a token: one, several where it lies across formats, none where it is only a sign of Markdown.
  pieces(index) {
    if (!this.formatted) return index < this.steps.length ? [this.node.children[index]] : [];
    if (!this.found) {
      this.found = new Map();
      for (const node of this.node.querySelectorAll(".t[data-i]")) {
        const at = Number(node.dataset.i);
        if (this.found.has(at)) this.found.get(at).push(node);
        else this.found.set(at, [node]);
      }
    }
    return this.found.get(index) || [];
  }

  element(index) {
    return this.pieces(index)[0] || null;
  }

  get first() {
    return this.node.querySelector(".t[data-i]");
  }

  // The token that an event has happened on, null for none.
  at(event) {
    const node = event.target.closest ? event.target.closest(".t[data-i]") : null;
    return node && this.node.contains(node) ? Number(node.dataset.i) : null;
  }
}
