// Two charts of one answer, drawn as SVG: entropy and varentropy along the text, and one against the other.

import { REGIMES, count, number } from "./tokens.js";

const SVG = "http://www.w3.org/2000/svg";

function draw(tag, attributes, text) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

export const known = (value) => value !== null && value !== undefined && Number.isFinite(value);
const most = (steps, name) => steps.reduce((top, step) => (known(step[name]) ? Math.max(top, step[name]) : top), 0);

// The regime that the thresholds give: the rule that the picture shows.
export function regimeAt(h, v, t) {
  if (v > t.varentropy_high) return h > t.entropy_high ? "resample" : "branch";
  if (v < t.varentropy_low) {
    if (h < t.entropy_low) return "flow";
    if (h > t.entropy_high) return "clarify";
  }
  return "adapt";
}

const STRIP = { left: 34, right: 8, top: 16, height: 72, gap: 26, bottom: 20 };
const TICK = 11; // pixels between two labels that can be read
const SIGNALS = [
  ["entropy", "entropy, nats"],
  ["varentropy", "varentropy, nats²"],
];

// Entropy and varentropy along the answer, one bar a token in the colour of its regime.
export class Strip {
  constructor() {
    this.steps = [];
    this.svg = draw("svg", { class: "strip", role: "slider", tabindex: "0", "aria-label": "entropy along the answer" });
    this.svg.setAttribute("aria-valuemin", "1");
    this.plot = this.svg.appendChild(draw("g", {}));
    this.line = this.svg.appendChild(draw("line", { class: "cursor", visibility: "hidden" }));
  }

  draw(steps, thresholds, forks) {
    this.steps = steps;
    const width = Math.max(this.svg.clientWidth, 200);
    const { left, right, top, height, gap, bottom } = STRIP;
    const inner = width - left - right;
    const total = top + 2 * height + gap + bottom;
    this.step = Math.min(inner / Math.max(steps.length, 1), 12);
    this.svg.setAttribute("viewBox", `0 0 ${width} ${total}`);
    this.svg.style.height = `${total}px`;
    this.svg.setAttribute("aria-valuemax", String(steps.length));
    const parts = [];
    SIGNALS.forEach(([name, title], panel) => {
      const base = top + height + panel * (height + gap);
      const [low, high] = thresholds ? [thresholds[`${name}_low`], thresholds[`${name}_high`]] : [0, 0];
      const limit = Math.max(most(steps, name), high) * 1.08 || 1;
      const y = (value) => base - (height * value) / limit;
      parts.push(draw("text", { x: left, y: base - height - 5, class: "title" }, title));
      parts.push(draw("line", { x1: left, x2: width - right, y1: base, y2: base, class: "axis" }));
      const tick = (at, value) => parts.push(draw("text", { x: left - 5, y: at, class: "tick", "text-anchor": "end" }, value));
      if (thresholds) {
        for (const [value, label] of [[low, "low"], [high, "high"]]) {
          const at = y(value);
          const line = draw("line", { x1: left, x2: width - right, y1: at, y2: at, class: "threshold" });
          line.append(draw("title", {}, `${name} threshold, ${label}: ${number(value)}`));
          parts.push(line);
          tick(at + 4, number(value, 1));
        }
      } else tick(y(limit) + 8, number(limit, 1));
      if (!thresholds || base - y(low) > TICK) tick(base + 4, "0"); // else it would lie over the threshold's
      for (const regime of REGIMES) {
        const path = this.bars(name, regime, y, base);
        if (path) parts.push(draw("path", { d: path, class: `bar c-${regime}`, "stroke-width": Math.max(this.step * 0.8, 1) }));
      }
    });
    const foot = top + 2 * height + gap;
    for (const at of forks) {
      if (at < steps.length) parts.push(draw("path", { d: `M${this.x(at)} ${foot + 3}l3 6h-6z`, class: "fork" }));
    }
    for (const at of this.ticks(inner)) {
      const x = this.x(at - 1);
      const anchor = x + 4 * String(at).length > width ? "end" : "middle"; // a digit is under 8 wide
      parts.push(draw("text", { x, y: foot + 15, class: "tick", "text-anchor": anchor }, String(at)));
    }
    this.plot.replaceChildren(...parts);
  }

  // The bars of one regime as one path. Where tokens are denser than pixels, a pixel shows its highest.
  bars(name, regime, y, base) {
    const tops = this.step >= 1 ? this.steps.map((_, i) => i) : this.tallest(name);
    let path = "";
    for (const i of tops) {
      const step = this.steps[i];
      if (step.regime === regime && known(step[name])) {
        path += `M${this.x(i).toFixed(1)} ${base}V${Math.min(y(step[name]), base - 1).toFixed(1)}`;
      }
    }
    return path;
  }

  tallest(name) {
    const best = new Map();
    this.steps.forEach((step, i) => {
      const pixel = Math.round(this.x(i));
      const other = best.get(pixel);
      if (known(step[name]) && (other === undefined || step[name] > this.steps[other][name])) best.set(pixel, i);
    });
    return best.values();
  }

  ticks(inner) {
    const n = this.steps.length;
    if (!n) return [];
    const room = Math.max(Math.floor((n * this.step) / 60), 1);
    const size = [1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000].find((s) => n / s <= room) || 10000;
    const out = [1];
    for (let at = size; at <= n; at += size) if ((at - out[out.length - 1]) * this.step > 28) out.push(at);
    return inner > 0 ? out : [];
  }

  x(index) {
    return STRIP.left + this.step * (index + 0.5);
  }

  // The token at a place on the screen.
  at(clientX) {
    const box = this.svg.getBoundingClientRect();
    const index = Math.floor((clientX - box.left - STRIP.left) / this.step);
    return this.steps.length ? Math.min(Math.max(index, 0), this.steps.length - 1) : null;
  }

  cursor(index, text) {
    this.svg.setAttribute("aria-valuenow", String(index === null ? 1 : index + 1));
    this.svg.setAttribute("aria-valuetext", text || count(this.steps.length, "token"));
    this.line.setAttribute("visibility", index === null ? "hidden" : "visible");
    if (index === null) return;
    for (const [name, value] of [
      ["x1", this.x(index)],
      ["x2", this.x(index)],
      ["y1", STRIP.top - 4],
      ["y2", STRIP.top + 2 * STRIP.height + STRIP.gap + 4],
    ]) this.line.setAttribute(name, String(value));
  }
}

const PLOT = { left: 34, right: 10, top: 18, bottom: 32, height: 260 };
const TICKS = [0, 0.1, 0.5, 1, 2, 3, 4, 6, 8, 10, 15, 20, 30, 50, 100];
// a shape for each regime, as colours alone do not tell them apart for everybody
const SHAPES = {
  flow: "m-2.2 0a2.2 2.2 0 1 0 4.4 0a2.2 2.2 0 1 0-4.4 0",
  adapt: "m-2.5-2.5h5v5h-5z",
  branch: "m0-3.8l3.6 6.4h-7.2z",
  clarify: "m0-4l4 4l-4 4l-4-4z",
  resample: "m-3-4.2l3 3l3-3l1.2 1.2l-3 3l3 3l-1.2 1.2l-3-3l-3 3l-1.2-1.2l3-3l-3-3z",
};

// Entropy against varentropy, one mark a token, with the thresholds and the regimes that they bound.
export class Scatter {
  constructor() {
    this.steps = [];
    this.svg = draw("svg", { class: "scatter", role: "img", "aria-label": "entropy against varentropy" });
    this.plot = this.svg.appendChild(draw("g", {}));
    this.ring = this.svg.appendChild(draw("circle", { class: "ring", r: 7, visibility: "hidden" }));
  }

  draw(steps, thresholds) {
    this.steps = steps;
    const { left, right, top, bottom, height } = PLOT;
    const width = Math.max(this.svg.clientWidth, 180);
    const limits = {
      entropy: Math.max(most(steps, "entropy"), thresholds ? thresholds.entropy_high * 1.3 : 1) * 1.04,
      varentropy: Math.max(most(steps, "varentropy"), thresholds ? thresholds.varentropy_high * 1.3 : 1) * 1.04,
    };
    // square roots spread the crowd near 0, where a model is most of the time
    this.x = (h) => left + (width - left - right) * Math.sqrt(h / limits.entropy);
    this.y = (v) => top + (height - top - bottom) * (1 - Math.sqrt(v / limits.varentropy));
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.svg.style.height = `${height}px`;
    const parts = thresholds ? this.regions(thresholds, limits) : [];
    const floor = height - bottom;
    parts.push(draw("path", { d: `M${left} ${top}V${floor}H${width - right}`, class: "axis" }));
    let last = -Infinity;
    for (const tick of TICKS) {
      const at = this.x(tick);
      if (tick > limits.entropy || at - last < 24) continue;
      last = at;
      parts.push(draw("text", { x: at, y: floor + 13, class: "tick", "text-anchor": "middle" }, String(tick)));
    }
    last = Infinity;
    for (const tick of TICKS) {
      const at = this.y(tick);
      if (tick > limits.varentropy || last - at < 18) continue;
      last = at;
      parts.push(draw("text", { x: left - 5, y: at + 4, class: "tick", "text-anchor": "end" }, String(tick)));
    }
    parts.push(draw("text", { x: width - right, y: height - 4, class: "title", "text-anchor": "end" }, "entropy, nats →"));
    parts.push(draw("text", { x: 4, y: 12, class: "title" }, "↑ varentropy, nats²"));
    for (const regime of REGIMES) {
      let path = "";
      for (const step of steps) {
        if (step.regime === regime && known(step.entropy) && known(step.varentropy)) {
          path += `M${this.x(step.entropy).toFixed(1)} ${this.y(step.varentropy).toFixed(1)}${SHAPES[regime]}`;
        }
      }
      if (path) parts.push(draw("path", { d: path, class: `dot c-${regime}` }));
    }
    this.plot.replaceChildren(...parts);
  }

  regions(t, limits) {
    const h = [0, t.entropy_low, t.entropy_high, limits.entropy];
    const v = [0, t.varentropy_low, t.varentropy_high, limits.varentropy];
    const out = [];
    const named = new Set();
    for (let row = 2; row >= 0; row--) {
      for (let column = 0; column < 3; column++) {
        const regime = regimeAt((h[column] + h[column + 1]) / 2, (v[row] + v[row + 1]) / 2, t);
        const [x, y] = [this.x(h[column]), this.y(v[row + 1])];
        const [w, tall] = [this.x(h[column + 1]) - x, this.y(v[row]) - y];
        out.push(draw("rect", { x, y, width: w, height: tall, class: `region c-${regime}` }));
        // a regime of several cells is named in the first, where tokens are rare
        if (!named.has(regime)) {
          named.add(regime);
          const side = column < 2 && row > 0 ? { x: x + 4 } : { x: x + w - 4, "text-anchor": "end" };
          const place = { ...side, y: row > 0 ? y + 13 : y + tall - 5 };
          out.push(draw("text", { ...place, class: "region-name" }, regime));
        }
      }
    }
    const at = (name, value) => draw("path", { d: value, class: "threshold", "data-threshold": name });
    const box = [this.x(0), this.x(limits.entropy), this.y(0), this.y(limits.varentropy)];
    for (const name of ["entropy_low", "entropy_high"]) out.push(at(name, `M${this.x(t[name])} ${box[2]}V${box[3]}`));
    for (const name of ["varentropy_low", "varentropy_high"]) out.push(at(name, `M${box[0]} ${this.y(t[name])}H${box[1]}`));
    return out;
  }

  // The token nearest to a place on the screen, or null where none is near.
  at(clientX, clientY) {
    const box = this.svg.getBoundingClientRect();
    let [best, index] = [20 ** 2, null];
    this.steps.forEach((step, i) => {
      if (!known(step.entropy) || !known(step.varentropy)) return;
      const away = (this.x(step.entropy) - clientX + box.left) ** 2 + (this.y(step.varentropy) - clientY + box.top) ** 2;
      if (away < best) [best, index] = [away, i];
    });
    return index;
  }

  cursor(index) {
    const step = index === null ? null : this.steps[index];
    const shown = step && known(step.entropy) && known(step.varentropy) && this.x;
    this.ring.setAttribute("visibility", shown ? "visible" : "hidden");
    if (!shown) return;
    this.ring.setAttribute("cx", this.x(step.entropy));
    this.ring.setAttribute("cy", this.y(step.varentropy));
  }
}
