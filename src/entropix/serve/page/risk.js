// The share of wrong answers to keep to, beside an effort: what the server's model is calibrated for.

import { el, percent } from "./tokens.js";

const ANY = "any";
const MEANING = "the share of wrong answers that is accepted; an answer that is not sure enough is marked";
const WITHOUT = {
  effort: "choose an effort first: a risk is kept by a vote",
  calibration: "the model's confidence is not calibrated for this effort: entropix calibrate MODEL --answers TASK",
};

export class Risk {
  // node: the part of the column's form; effort: the Choice beside it
  constructor(node, effort) {
    Object.assign(this, { node, effort, select: node.querySelector("select") });
    for (const event of ["change", "chosen"]) effort.select.addEventListener(event, () => this.show());
    this.show();
  }

  show() {
    const { name, option } = this.effort;
    const before = this.select.value;
    const risks = option?.risks || [];
    this.select.replaceChildren(el("option", { value: "" }, ANY), ...risks.map((risk) => el("option", { value: risk }, percent(risk, 0))));
    this.select.value = risks.some((risk) => String(risk) === before) ? before : "";
    this.select.disabled = risks.length === 0;
    this.node.title = risks.length ? MEANING : WITHOUT[name === "none" ? "effort" : "calibration"];
  }

  // A share, null for any.
  get value() {
    return this.select.value === "" ? null : Number(this.select.value);
  }

  set(risk) {
    this.select.value = risk === null ? "" : String(risk);
    if (this.select.selectedIndex < 0) this.select.value = "";
  }
}
