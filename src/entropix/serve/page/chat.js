// The page: what both columns share, sending, stopping, comparing, and what went wrong.

import { information } from "./api.js";
import { readTools } from "./calls.js";
import { Column } from "./column.js";
import { comparison } from "./compare.js";
import { asked, readTrace } from "./drop.js";
import { unsureOf } from "./takes.js";
import { count, el, percent } from "./tokens.js";

const get = (id) => document.getElementById(id);
const KEPT = ["message", "system", "tools", "seed", "max-tokens"];
const SWITCHES = ["markdown", "reproducible"];
const STORE = "entropix.page";
const KEY = "entropix.key";
const SAID = "entropix.said";
const ROOM = 2_000_000; // characters of all columns; browsers give a tab's storage five million

let info = null;
let columns = [];
let hidden = null;
let tinted; // what tokens are tinted by, once it was chosen

// what was typed outlives a reload, in this tab only

function keep() {
  const values = Object.fromEntries(KEPT.map((id) => [id, get(id).value]));
  for (const id of SWITCHES) values[id] = get(id).checked;
  try {
    sessionStorage.setItem(STORE, JSON.stringify(values));
    sessionStorage.setItem(KEY, get("key").value);
  } catch {
    // a browser that keeps nothing still chats
  }
}

function restore() {
  try {
    const values = JSON.parse(sessionStorage.getItem(STORE) || "{}");
    for (const id of KEPT) if (typeof values[id] === "string") get(id).value = values[id];
    for (const id of SWITCHES) if (typeof values[id] === "boolean") get(id).checked = values[id];
    get("key").value = sessionStorage.getItem(KEY) || "";
    return values;
  } catch {
    // as above
  }
  return {};
}

// so does what was said, as far as there is room

function keepSaid() {
  const saved = columns.map((column) => column.saved(ROOM / columns.length));
  try {
    sessionStorage.removeItem(SAID);
    sessionStorage.setItem(SAID, JSON.stringify({ model: info.model, columns: saved }));
  } catch {
    // as above
  }
}

// The columns of before a reload, if the server still has the same model.
function restoreSaid() {
  try {
    const said = JSON.parse(sessionStorage.getItem(SAID) || "{}");
    if (said.model !== info.model) return [];
    return said.columns.map((saved, n) => {
      const known = info.policies.some(({ name }) => name === saved.policy?.split(":")[0]);
      const made = column("AB"[n], known ? saved.policy : null);
      if (saved.effort) made.effort.set(saved.effort);
      if (saved.risk) made.risk.set(saved.risk);
      made.recall(saved);
      return made;
    });
  } catch {
    return [];
  }
}

function common() {
  return {
    system: get("system").value.trim(),
    maxTokens: Number(get("max-tokens").value) || undefined,
    key: get("key").value.trim(),
    tools: readTools(get("tools").value),
    reproducible: get("reproducible").checked === Boolean(info?.reproducible) ? null : get("reproducible").checked,
  };
}

// The same seed for every column, drawn where none is given.
function seed() {
  const given = get("seed").value;
  return given === "" ? crypto.getRandomValues(new Uint32Array(1))[0] : Number(given);
}

function valid() {
  const value = get("seed").value;
  get("seed").setCustomValidity(value !== "" && !Number.isSafeInteger(Number(value)) ? "An integer up to 2^53." : "");
  let wrong = "";
  try {
    readTools(get("tools").value);
  } catch (error) {
    wrong = error.message;
  }
  get("tools").setCustomValidity(wrong);
  if (!get("settings").checkValidity()) get("fold").open = true;
  return get("settings").reportValidity() && columns.every((column) => column.valid());
}

function notice(...parts) {
  get("notice").replaceChildren(...parts);
  get("notice").hidden = parts.length === 0;
  get("notice").classList.remove("told");
}

// What is worth knowing and no failure.
function tell(...parts) {
  notice(...parts);
  get("notice").classList.add("told");
}

function askForKey() {
  get("key-field").hidden = false;
  get("fold").open = true;
}

// A turn has begun, ended or failed in a column.
function changed(turn, words) {
  const running = columns.some((column) => column.running);
  get("send").disabled = running || !info;
  get("stop").disabled = !running;
  get("again").disabled = running || !columns.some((column) => column.turns.length);
  if (words) get("status").textContent = words;
  else if (running) get("status").textContent = "answering …";
  else if (turn && turn.failed !== null) get("status").textContent = "the answer failed";
  else if (turn) {
    const { steps, result } = turn.view.data();
    const unsure = result ? `, uncertainty ${percent(unsureOf(result), 0)} a token` : "";
    get("status").textContent = `done: ${count(steps.length, "token")}${unsure}`;
  }
  const table = running ? null : comparison(columns);
  const inSight = columns.filter((column) => column.atEnd);
  get("comparison").replaceChildren(...(table ? [table] : []));
  get("comparison").hidden = !table;
  for (const column of inSight) column.toEnd(); // the table takes room from the conversations
  get("folded").textContent = columns[0] ? summaryOf(columns[0]) : "";
  if (!running && columns.length) keepSaid();
  if (turn?.failed === 401) {
    askForKey();
    get("key").focus();
  }
}

// What is set, in a line for where the settings are folded away.
function summaryOf({ policy, search, level, risk }) {
  return [policy.name, level ? `effort ${level}` : search.spec, risk.value && `risk ${percent(risk.value, 0)}`].filter(Boolean).join(" · ");
}

function send() {
  const message = get("message");
  if (!info || !message.value.trim() || columns.some((column) => column.running) || !valid()) return;
  const prompt = message.value;
  const drawn = seed();
  message.value = "";
  keep();
  notice();
  for (const column of columns) {
    column.close();
    column.ask(prompt, drawn);
  }
}

// A message that could not be answered goes back to where it can be changed; what was typed meanwhile follows it.
function edit(prompt) {
  for (const one of columns) one.forget(prompt);
  const message = get("message");
  message.value = [prompt, message.value].filter(Boolean).join("\n");
  message.focus();
  keep();
  changed(null, "");
}

// A message that was changed is asked again in every column; what came after it is taken out.
function askFrom(own, turn, prompt) {
  if (columns.some((one) => one.running) || !valid()) return;
  const n = own.turns.length - own.turns.indexOf(turn);
  const drawn = seed();
  for (const one of columns) {
    one.drop(n);
    one.ask(prompt, drawn);
  }
  get("message").focus();
}

function example(question, effort) {
  if (columns.some((one) => one.running)) return;
  for (const one of columns) if (effort) one.effort.set(effort);
  get("message").value = question;
  send();
}

// A trace from a file stands where the conversation was, and a message goes on from it.
async function openTrace(file) {
  if (!file || !info || columns.some((one) => one.running)) return;
  notice();
  try {
    const { header, answers, problems } = await readTrace(file);
    const turns = answers.map(({ prompt, steps, result }) => {
      const text = result?.text ?? steps.map((step) => step.text).join("");
      const { policy = "?", seed: drawn = null, parameters = {} } = { ...header, ...(result ? { policy: result.policy, seed: result.seed } : {}) };
      return { ...asked(prompt), text, seed: drawn, policy, parameters, data: { steps, result } };
    });
    const [first] = turns;
    hidden = null;
    columns = [column("A", columns[0].policy.spec)];
    columns[0].recall({ before: first.before, turns }, header);
    const other = header.fingerprint !== info.fingerprint ? ` It is of another model, ${header.model ?? "unnamed"}: its tokens cannot be changed here.` : "";
    tell(el("p", {}, `${file.name}: ${count(turns.length, "answer")}.${other}`), ...(problems || []).map((one) => el("p", { class: "detail" }, one)));
    show();
  } catch (error) {
    notice(el("p", {}, "The trace could not be opened."), el("p", { class: "detail" }, error.message));
  }
}

function column(title, policy) {
  const formatted = get("markdown").checked;
  const made = new Column(title, info, { policy, common, changed, on: { ask: example, edit, askFrom }, mode: tinted, formatted });
  for (const { select } of [made.policy, made.search, made.effort, made.risk]) {
    for (const event of ["change", "chosen"]) select.addEventListener(event, () => { get("folded").textContent = summaryOf(columns[0] || made); });
  }
  made.node.addEventListener("tint", (event) => {
    tinted = event.detail;
    columns.forEach((one) => one.tint(tinted));
  });
  return made;
}

function show() {
  get("columns").replaceChildren(...columns.map(({ node }) => node));
  get("columns").classList.toggle("two", columns.length === 2);
  get("compare").setAttribute("aria-pressed", String(columns.length === 2));
  changed();
}

function fresh() {
  for (const old of columns) old.stop();
  hidden = null;
  const two = columns.length === 2;
  const policies = columns.map(({ policy }) => policy.spec);
  const levels = columns.map(({ level, risk }) => [level, risk.value]);
  columns = [column("A", policies[0])];
  if (two) columns.push(column("B", policies[1]));
  columns.forEach((one, n) => {
    const [level, risk] = levels[n];
    if (level) one.effort.set(level);
    one.risk.set(risk);
  });
  get("status").textContent = "";
  show();
}

function compare() {
  const [first, second] = columns;
  if (second) {
    second.stop();
    hidden = second;
    columns = [first];
  } else {
    const other = info.policies.map(({ name }) => name).find((name) => name !== first.policy.name);
    const usual = first.policy.name === "greedy" ? other : "greedy";
    const same = hidden && hidden.before.length / 2 + hidden.turns.length === first.turns.length;
    const next = same ? hidden : column("B", hidden ? hidden.policy.name : usual);
    if (!same) next.follow(first);
    columns = [first, next];
  }
  show();
}

async function begin() {
  notice();
  try {
    info = await information(common().key);
  } catch (error) {
    get("key-field").hidden = true;
    if (error.status === 401) askForKey();
    const retry = el("button", { type: "button" }, "Try again");
    retry.addEventListener("click", begin);
    const words = error.status === 401 && !common().key ? "The server wants an API key. Enter it below, then try again." : error.message;
    notice(el("p", {}, words), error.detail && common().key ? el("p", { class: "detail" }, error.detail) : "", retry);
    if (error.status === 401) get("key").focus();
    return;
  }
  get("model").textContent = [info.model, info.engine, `profile ${info.profile}`].filter(Boolean).join(" · ");
  if (info.key_needed) askForKey();
  if (info.limits?.max_tokens) get("max-tokens").max = info.limits.max_tokens;
  if (typeof kept.reproducible !== "boolean") get("reproducible").checked = Boolean(info.reproducible);
  if (info.notes?.length) tell(...info.notes.map((note) => el("p", { class: "detail" }, note)));
  columns = restoreSaid();
  if (!columns.length) columns = [column("A")];
  show();
}

get("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  send();
});
get("message").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    send();
  }
  if (event.key === "Escape") columns.forEach((one) => one.stop());
});
get("settings").addEventListener("submit", (event) => event.preventDefault());
get("key").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !info) begin();
});
get("stop").addEventListener("click", () => {
  columns.forEach((one) => one.stop());
  get("message").focus(); // a button that becomes disabled would lose the focus
});
get("again").addEventListener("click", () => {
  if (!valid()) return;
  const drawn = seed();
  for (const one of columns) one.again(drawn);
  get("message").focus();
});
get("compare").addEventListener("click", () => info && compare());
get("fresh").addEventListener("click", () => info && fresh());
document.addEventListener("pointerdown", (event) => {
  for (const one of columns) if (!one.form.contains(event.target)) one.close();
});
document.addEventListener("input", keep);
get("markdown").addEventListener("change", () => columns.forEach((one) => one.format(get("markdown").checked)));
get("open").addEventListener("click", () => get("file").click());
get("file").addEventListener("change", () => {
  openTrace(get("file").files[0]);
  get("file").value = "";
});
const carries = (event) => event.dataTransfer?.types.includes("Files");
document.addEventListener("dragover", (event) => {
  if (!carries(event)) return;
  event.preventDefault();
  document.body.classList.add("dropping");
});
document.addEventListener("dragleave", (event) => event.relatedTarget || document.body.classList.remove("dropping"));
document.addEventListener("drop", (event) => {
  document.body.classList.remove("dropping");
  if (!carries(event)) return; // text that is dropped goes where it was dropped
  event.preventDefault();
  openTrace(event.dataTransfer.files[0]);
});
// on a phone the settings are folded away, and elsewhere they cannot be
const phone = matchMedia("(max-width: 40rem)");
const fold = () => { get("fold").open = !phone.matches || !get("key-field").hidden; };
phone.addEventListener("change", fold);
fold();
const kept = restore();
get("send").disabled = true;
begin();
