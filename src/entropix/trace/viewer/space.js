// Entropy, varentropy and the place in the answer as a space to turn: one point a token, the thresholds as planes.

import { known } from "./charts.js";
import { el, heat } from "./tokens.js";

const PLANES = ["entropy_low", "entropy_high", "varentropy_low", "varentropy_high"];
const GRID = [0, 0.1, 0.5, 1, 2, 4, 8, 16, 32, 64];
const HOME = { yaw: 0.6, pitch: 0.35, zoom: 1 };
const NEAR = 14; // pixels within which a pointer means a point
const TURN = 0.12; // radians a key

export class Space {
  // hover(index or null), pin(index): what happens at a token
  constructor({ hover, pin }) {
    this.steps = [];
    this.points = [];
    this.at = null;
    this.planes = new Set(PLANES);
    this.turned = { ...HOME };
    this.canvas = el("canvas", { tabindex: "0", role: "img" });
    this.node = el("div", { class: "exv-space", hidden: true }, this.canvas, this.switches());
    this.listen(hover, pin);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.paint());
  }

  switches() {
    const row = el("div", { class: "switches" }, "thresholds");
    for (const name of PLANES) {
      const box = el("input", { type: "checkbox", checked: true });
      box.addEventListener("change", () => {
        if (box.checked) this.planes.add(name);
        else this.planes.delete(name);
        this.paint();
      });
      row.append(el("label", {}, box, ` ${name.replace("_", " ")}`));
    }
    const home = el("button", { type: "button" }, "Turn back");
    home.addEventListener("click", () => {
      this.turned = { ...HOME };
      this.paint();
    });
    row.append(home);
    return row;
  }

  draw(steps, thresholds, mode) {
    this.steps = steps;
    this.thresholds = thresholds;
    this.mode = mode;
    const most = (name, high) => Math.max(high * 1.3, ...[steps.reduce((top, step) => (known(step[name]) ? Math.max(top, step[name]) : top), 0)]) * 1.04;
    this.limits = { entropy: most("entropy", thresholds ? thresholds.entropy_high : 1), varentropy: most("varentropy", thresholds ? thresholds.varentropy_high : 1) };
    const words = "turn it by dragging or with the arrow keys, plus and minus come nearer and go away";
    this.canvas.setAttribute("aria-label", `entropy, varentropy and place of ${steps.length} tokens; ${words}`);
    this.paint();
  }

  cursor(index) {
    this.at = index;
    this.paint();
  }

  // A place of the space, each coordinate −1 … 1 → [x, y, depth] on the canvas; greater depth is farther.
  project(x, y, z) {
    const { yaw, pitch, zoom } = this.turned;
    const [sin, cos, up, flat] = [Math.sin(yaw), Math.cos(yaw), Math.sin(pitch), Math.cos(pitch)];
    const right = x * cos + z * sin;
    const deep = z * cos - x * sin;
    const depth = deep * flat + y * up;
    const scale = (this.size * zoom * 3.4) / (4.2 + depth);
    return [this.width / 2 + right * scale, this.height / 2 - (y * flat - deep * up) * scale, depth];
  }

  // Square roots spread the crowd near 0, as in the plane.
  across(entropy) {
    return 2 * Math.sqrt(entropy / this.limits.entropy) - 1;
  }

  upward(varentropy) {
    return 2 * Math.sqrt(varentropy / this.limits.varentropy) - 1;
  }

  along(index) {
    return this.steps.length > 1 ? (2 * index) / (this.steps.length - 1) - 1 : 0;
  }

  paint() {
    if (this.node.hidden || !this.limits || this.due) return;
    this.due = requestAnimationFrame(() => {
      this.due = null;
      this.render();
    });
  }

  render() {
    const { canvas } = this;
    const ratio = devicePixelRatio || 1;
    [this.width, this.height] = [canvas.clientWidth, canvas.clientHeight];
    if (!this.width) return;
    this.size = Math.min(this.width / 5, this.height / 4.3);
    canvas.width = Math.round(this.width * ratio);
    canvas.height = Math.round(this.height * ratio);
    const g = canvas.getContext("2d");
    const style = getComputedStyle(canvas);
    const colour = (name) => style.getPropertyValue(`--${name}`).trim();
    g.scale(ratio, ratio);
    g.font = "11px system-ui, sans-serif";
    this.box(g, colour);
    if (this.thresholds) for (const name of this.planes) this.plane(g, name, colour);
    this.dots(g, colour);
  }

  line(g, from, to) {
    const [a, b] = [this.project(...from), this.project(...to)];
    g.beginPath();
    g.moveTo(a[0], a[1]);
    g.lineTo(b[0], b[1]);
    g.stroke();
  }

  // The three edges that carry the axes, their ticks and names, and the floor.
  box(g, colour) {
    g.strokeStyle = colour("edge");
    g.lineWidth = 1;
    for (const s of [-1, 1]) {
      for (const t of [-1, 1]) {
        this.line(g, [-1, s, t], [1, s, t]);
        this.line(g, [s, -1, t], [s, 1, t]);
        this.line(g, [s, t, -1], [s, t, 1]);
      }
    }
    g.strokeStyle = colour("soft");
    for (const end of [[1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) this.line(g, [-1, -1, -1], end);
    g.textAlign = "center";
    const write = (text, place, ink) => {
      const [x, y] = this.project(...place);
      g.fillStyle = colour(ink);
      g.fillText(text, x, y);
    };
    let last = null;
    const tick = (text, place) => {
      const [x, y] = this.project(...place);
      if (last && Math.hypot(x - last[0], y - last[1]) < 22) return;
      last = [x, y];
      write(text, place, "soft");
    };
    for (const h of GRID) if (h <= this.limits.entropy) tick(String(h), [this.across(h), -1.08, -1.08]);
    last = null;
    for (const v of GRID) if (v <= this.limits.varentropy) tick(String(v), [-1.1, this.upward(v), -1.1]);
    const n = this.steps.length;
    last = null;
    for (const at of [0, 0.25, 0.5, 0.75, 1]) if (n > 1) tick(String(Math.round(1 + at * (n - 1))), [1.1, -1.08, 2 * at - 1]);
    write("entropy, nats", [0, -1.25, -1.25], "ink");
    write("varentropy, nats²", [-1.15, 1.16, -1.15], "ink");
    write("token", [1.3, -1.2, 0], "ink");
  }

  plane(g, name, colour) {
    const value = this.thresholds[name];
    const wall = name.startsWith("entropy");
    const at = wall ? this.across(value) : this.upward(value);
    const corners = [[-1, -1], [1, -1], [1, 1], [-1, 1]].map(([a, b]) => this.project(...(wall ? [at, a, b] : [a, at, b])));
    g.beginPath();
    corners.forEach(([x, y], n) => (n ? g.lineTo(x, y) : g.moveTo(x, y)));
    g.closePath();
    g.globalAlpha = 0.13;
    g.fillStyle = colour(wall ? "accent" : "clarify");
    g.fill();
    g.globalAlpha = 0.6;
    g.strokeStyle = colour(wall ? "accent" : "clarify");
    g.setLineDash([4, 3]);
    g.stroke();
    g.setLineDash([]);
    g.globalAlpha = 1;
  }

  dots(g, colour) {
    this.points = [];
    this.steps.forEach((step, index) => {
      if (!known(step.entropy) || !known(step.varentropy)) return;
      const [x, y, depth] = this.project(this.across(step.entropy), this.upward(step.varentropy), this.along(index));
      this.points.push({ index, x, y, depth });
    });
    g.strokeStyle = colour("soft");
    g.globalAlpha = 0.25;
    g.beginPath();
    this.points.forEach(({ x, y }, n) => (n ? g.lineTo(x, y) : g.moveTo(x, y)));
    g.stroke();
    g.globalAlpha = 1;
    const named = {};
    for (const name of ["paper", "ink", "heat", "flow", "adapt", "branch", "clarify", "resample"]) named[name] = colour(name);
    const radius = Math.max(2.2, Math.min(4.5, 60 / Math.sqrt(this.points.length + 1)));
    for (const { index, x, y, depth } of [...this.points].sort((a, b) => b.depth - a.depth)) {
      const step = this.steps[index];
      g.beginPath();
      g.arc(x, y, (radius * 4.2) / (4.2 + depth), 0, 2 * Math.PI);
      g.globalAlpha = 1;
      g.fillStyle = this.mode === "regime" ? named[step.regime] || named.flow : named.flow;
      g.fill();
      if (this.mode !== "regime") {
        const share = this.mode === "entropy" ? heat(step.entropy)[0] / 57 : known(step.logprob) ? 1 - Math.exp(step.logprob) : 0;
        g.globalAlpha = share;
        g.fillStyle = named.heat;
        g.fill();
      }
      g.globalAlpha = 0.5;
      g.strokeStyle = named.paper;
      g.stroke();
    }
    g.globalAlpha = 1;
    const here = this.points.find(({ index }) => index === this.at);
    if (!here) return;
    g.strokeStyle = named.ink;
    g.lineWidth = 2;
    g.beginPath();
    g.arc(here.x, here.y, 8, 0, 2 * Math.PI);
    g.stroke();
    // down to the floor, so that its place can be read off
    const step = this.steps[this.at];
    g.lineWidth = 1;
    this.line(g, [this.across(step.entropy), this.upward(step.varentropy), this.along(this.at)], [this.across(step.entropy), -1, this.along(this.at)]);
  }

  // The token whose point is nearest to a place on the screen, or null where none is near.
  nearest(event) {
    const box = this.canvas.getBoundingClientRect();
    let [best, found] = [NEAR ** 2, null];
    for (const { index, x, y } of this.points) {
      const away = (x - event.clientX + box.left) ** 2 + (y - event.clientY + box.top) ** 2;
      if (away < best) [best, found] = [away, index];
    }
    return found;
  }

  turn(yaw, pitch) {
    this.turned.yaw += yaw;
    this.turned.pitch = Math.max(-1.5, Math.min(1.5, this.turned.pitch + pitch));
    this.paint();
  }

  near(factor) {
    this.turned.zoom = Math.max(0.5, Math.min(4, this.turned.zoom * factor));
    this.paint();
  }

  listen(hover, pin) {
    const { canvas } = this;
    let held = null;
    canvas.addEventListener("pointerdown", (event) => {
      held = { x: event.clientX, y: event.clientY, moved: false };
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!held) {
        if (event.pointerType !== "touch") hover(this.nearest(event));
        return;
      }
      const [right, down] = [event.clientX - held.x, event.clientY - held.y];
      if (!held.moved && Math.hypot(right, down) < 4) return;
      this.turn(right * 0.008, event.pointerType === "touch" ? 0 : down * 0.008);
      held = { x: event.clientX, y: event.clientY, moved: true };
    });
    canvas.addEventListener("pointerup", (event) => {
      const index = held && !held.moved ? this.nearest(event) : null;
      held = null;
      if (index !== null) pin(index);
    });
    canvas.addEventListener("pointercancel", () => { held = null; });
    canvas.addEventListener("pointerleave", () => held || hover(null));
    canvas.addEventListener("wheel", (event) => {
      if (!event.ctrlKey) return; // without it the page scrolls
      event.preventDefault();
      this.near(event.deltaY < 0 ? 1.1 : 1 / 1.1);
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => {
      const turns = { ArrowLeft: [-TURN, 0], ArrowRight: [TURN, 0], ArrowUp: [0, -TURN], ArrowDown: [0, TURN] };
      if (turns[event.key]) this.turn(...turns[event.key]);
      else if (event.key === "+" || event.key === "=") this.near(1.1);
      else if (event.key === "-") this.near(1 / 1.1);
      else return;
      event.preventDefault();
    });
  }
}
