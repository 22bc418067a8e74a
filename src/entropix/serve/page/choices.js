// A policy or a search with its parameters, as the server describes them.

import { el } from "./tokens.js";

const CUSTOM = "custom…";

// What stands where nothing is typed: where 0 means a default of the server's, as its description says it.
function hint(usual, doc) {
  const meant = usual === 0 && /\b0: ([^;]+)/.exec(doc || "");
  return meant ? meant[1].trim() : usual;
}

function field({ name, default: usual, low, high, doc, allowed }) {
  let input;
  if (allowed) {
    input = el("select", {}, ...allowed.map((value) => el("option", { value }, value)));
    input.value = usual;
  } else if (typeof usual === "number") {
    const whole = Number.isInteger(usual) && Number.isInteger(low ?? 0) && Number.isInteger(high ?? 0);
    input = el("input", { type: "number", placeholder: hint(usual, doc), min: low, max: high, step: whole && usual > 1 ? 1 : "any" });
  } else {
    input = el("input", { type: "text", placeholder: usual ?? "" });
  }
  input.name = name;
  input.usual = usual;
  const range = Number.isFinite(low) && Number.isFinite(high) ? ` (${low} … ${high})` : "";
  return el("label", {}, name, input, el("small", {}, `${doc}${range}`));
}

export class Choice {
  // node: the part of the column's form; options: what the server has; none: the name of choosing nothing; free: also
  // take a spec as text; chosen: the spec to begin with
  constructor(node, options, { none = null, free = false, chosen = null } = {}) {
    this.options = options;
    this.none = none;
    this.select = node.querySelector("select");
    this.details = node.querySelector("details");
    this.fields = node.querySelector(".fields");
    const names = [...(none ? [none] : []), ...options.map(({ name }) => name), ...(free ? [CUSTOM] : [])];
    this.select.replaceChildren(...names.map((name) => el("option", { value: name }, name)));
    this.select.addEventListener("change", () => this.show());
    this.begin(chosen, names);
  }

  // Choose "name" or "name:key=value,…".
  set(spec) {
    this.begin(spec, [...this.select.options].map(({ value }) => value));
    this.select.dispatchEvent(new Event("chosen"));
  }

  // What the server answers with when nothing is chosen.
  begin(spec, names) {
    const [name, given] = (spec || "").split(/:(.*)/s);
    if (names.includes(name)) this.select.value = name;
    else if (spec && names.includes(CUSTOM)) this.select.value = CUSTOM;
    this.show();
    if (this.name === CUSTOM) this.fields.querySelector("[name=spec]").value = spec;
    for (const pair of names.includes(name) && given ? given.split(",") : []) {
      const [key, value] = pair.split(/=(.*)/s);
      const input = this.fields.querySelector(`[name="${CSS.escape(key.trim())}"]`);
      if (input && value !== undefined) input.value = value.trim();
    }
    this.details.open = false;
  }

  show() {
    const option = this.option;
    this.select.title = option?.summary || "";
    const fields = (option?.parameters || []).map(field);
    if (this.select.value === CUSTOM) {
      const input = el("input", { type: "text", name: "spec", placeholder: "tree:max_sequences=4+vote:answer=number" });
      fields.push(el("label", { class: "long" }, "search", input, el("small", {}, "strategies with parameters, joined by +")));
      this.details.open = true;
    }
    this.fields.replaceChildren(...fields);
    this.details.hidden = fields.length === 0;
  }

  get option() {
    return this.options.find(({ name }) => name === this.select.value);
  }

  get name() {
    return this.select.value;
  }

  // The parameters that differ from the usual ones.
  get changed() {
    const values = {};
    for (const input of this.fields.querySelectorAll("[name]")) {
      if (input.value === "" || input.name === "spec") continue;
      const value = typeof input.usual === "number" ? Number(input.value) : input.value;
      if (value !== input.usual) values[input.name] = value;
    }
    return values;
  }

  // All parameters, as a trace's header has them.
  get all() {
    const usual = (this.option?.parameters || []).map((parameter) => [parameter.name, parameter.default]);
    return { ...Object.fromEntries(usual), ...this.changed };
  }

  // "name:key=value,…", or null for nothing chosen.
  get spec() {
    if (this.name === this.none) return null;
    if (this.name === CUSTOM) return this.fields.querySelector("[name=spec]").value.trim() || null;
    const values = Object.entries(this.changed).map(([key, value]) => `${key}=${value}`);
    return values.length ? `${this.name}:${values.join(",")}` : this.name;
  }
}
