// Markdown → a tree whose leaves are ranges of the source, so that every token of a formatted answer can still be pointed
// at. Libraries give the lines of a block at best, and HTML that would have to be cleaned; here text only ever becomes
// text nodes, and the elements are those named below.
//
// A node is { tag, attributes, children } or a leaf [start, end] of the source.

const DEEPEST = 12;
const FENCE = /^ {0,3}(`{3,}|~{3,})([^`]*)$/;
const HEADING = /^ {0,3}(#{1,6})\s+(.*?)\s*#*\s*$/;
const RULE = /^ {0,3}([-*_])(?:\s*\1){2,}\s*$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( {0,12})([-*+]|\d{1,9}[.)])( +|$)/;
const DIVIDER = /^ {0,3}\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$/;

export function markdown(source) {
  const lines = [];
  let at = 0;
  for (const text of source.split("\n")) {
    lines.push({ text, at });
    at += text.length + 1;
  }
  return blocks(lines, 0);
}

const blank = (line) => line.text.trim() === "";
const cut = (line, n) => ({ text: line.text.slice(n), at: line.at + n });
const begins = (line) => FENCE.test(line.text) || HEADING.test(line.text) || RULE.test(line.text) || QUOTE.test(line.text) || ITEM.test(line.text);

function blocks(lines, depth) {
  const out = [];
  for (let i = 0; i < lines.length; ) {
    const line = lines[i];
    const fence = FENCE.exec(line.text);
    const heading = HEADING.exec(line.text);
    if (blank(line)) i++;
    else if (fence) i = code(lines, i, fence[1], out);
    else if (heading) {
      const from = line.text.indexOf(heading[2], heading[1].length + 1);
      out.push({ tag: `h${Math.min(heading[1].length + 2, 6)}`, children: inline([{ text: heading[2], at: line.at + from }]) });
      i++;
    } else if (RULE.test(line.text)) {
      out.push({ tag: "hr", children: [] });
      i++;
    } else if (QUOTE.test(line.text) && depth < DEEPEST) {
      const inner = [];
      for (; i < lines.length && QUOTE.test(lines[i].text); i++) inner.push(cut(lines[i], QUOTE.exec(lines[i].text)[0].length));
      out.push({ tag: "blockquote", children: blocks(inner, depth + 1) });
    } else if (ITEM.test(line.text) && depth < DEEPEST) i = list(lines, i, depth, out);
    else if (line.text.includes("|") && lines[i + 1] && DIVIDER.test(lines[i + 1].text) && lines[i + 1].text.includes("-")) i = table(lines, i, out);
    else {
      const from = i++;
      while (i < lines.length && !blank(lines[i]) && !begins(lines[i])) i++;
      out.push({ tag: "p", children: inline(lines.slice(from, i)) });
    }
  }
  return out;
}

function code(lines, i, mark, out) {
  const from = ++i;
  while (i < lines.length && !(lines[i].text.trim().startsWith(mark) && lines[i].text.trim().replaceAll(mark[0], "") === "")) i++;
  const inner = lines.slice(from, i);
  out.push({ tag: "pre", children: [{ tag: "code", children: inner.map(({ text, at }) => [at, at + text.length + 1]) }] });
  return i + 1;
}

function list(lines, i, depth, out) {
  const kind = (text) => (/\d/.test(ITEM.exec(text)[2]) ? "ol" : "ul");
  const outer = ITEM.exec(lines[i].text)[1].length;
  const first = kind(lines[i].text);
  const start = first === "ol" ? Number.parseInt(ITEM.exec(lines[i].text)[2], 10) : null;
  const items = [];
  while (i < lines.length && ITEM.test(lines[i].text) && kind(lines[i].text) === first && !RULE.test(lines[i].text)) {
    const [all, indent, mark] = ITEM.exec(lines[i].text);
    if (indent.length > outer + 1 || indent.length < outer) break;
    const width = indent.length + mark.length + 1;
    const inner = [cut(lines[i], Math.min(all.length, width))];
    for (i++; i < lines.length; i++) {
      const spaces = lines[i].text.length - lines[i].text.trimStart().length;
      if (blank(lines[i])) {
        const next = lines.slice(i).find((line) => !blank(line));
        if (!next || next.text.length - next.text.trimStart().length < width) break;
        inner.push(lines[i]);
      } else if (spaces > outer + 1) inner.push(cut(lines[i], Math.min(spaces, width)));
      else if (begins(lines[i]) || blank(lines[i - 1])) break;
      else inner.push(lines[i]);
    }
    items.push({ tag: "li", children: blocks(inner, depth + 1) });
    let next = i;
    while (next < lines.length && blank(lines[next])) next++;
    if (next < lines.length && ITEM.test(lines[next].text)) i = next;
  }
  out.push({ tag: first, attributes: start !== null && start !== 1 ? { start } : {}, children: items });
  return i;
}

function table(lines, i, out) {
  const row = (line, tag) => {
    const cells = [];
    const text = line.text.trimEnd();
    let from = text.length - text.trimStart().length;
    if (text[from] === "|") from++;
    for (let at = from; at <= text.length; at++) {
      if (at < text.length && (text[at] !== "|" || text[at - 1] === "\\")) continue;
      if (at === text.length && at === from) break;
      const cell = text.slice(from, at);
      const skip = cell.length - cell.trimStart().length;
      cells.push({ tag, children: inline([{ text: cell.trim(), at: line.at + from + skip }]) });
      from = at + 1;
    }
    return { tag: "tr", children: cells };
  };
  const rows = [{ tag: "thead", children: [row(lines[i], "th")] }];
  const body = [];
  for (i += 2; i < lines.length && !blank(lines[i]) && lines[i].text.includes("|"); i++) body.push(row(lines[i], "td"));
  if (body.length) rows.push({ tag: "tbody", children: body });
  out.push({ tag: "table", children: rows });
  return i;
}

// Lines of text with emphasis, code and links in them.
function inline(lines) {
  const text = lines.map((line) => line.text).join("\n");
  // where each character stands in the source; a line break stands at the end of its line
  const places = [];
  lines.forEach((line, n) => {
    for (let k = 0; k < line.text.length; k++) places.push(line.at + k);
    if (n + 1 < lines.length) places.push(line.at + line.text.length);
  });
  const leaves = (from, to) => {
    const out = [];
    for (let k = from; k < to; k++) {
      const last = out[out.length - 1];
      if (last && last[1] === places[k]) last[1]++;
      else out.push([places[k], places[k] + 1]);
    }
    return out;
  };
  return spans(text, 0, text.length, leaves, 0);
}

const MARKS = [["**", "strong"], ["__", "strong"], ["~~", "del"], ["*", "em"], ["_", "em"]];
const word = (character) => character !== undefined && /[\p{L}\p{N}]/u.test(character);

function spans(text, from, to, leaves, depth) {
  const out = [];
  const none = new Set(); // marks that nothing closes any more: looked for once, so that hostile text takes no longer
  let plain = from;
  const flush = (at) => {
    if (at > plain) out.push(...leaves(plain, at));
  };
  for (let i = from; i < to; ) {
    const found = text[i] === "\\" ? literal(text, i, to) : special(text, i, to, none, depth, leaves);
    if (!found) {
      i++;
      continue;
    }
    flush(i);
    if (found.node) out.push(found.node);
    plain = found.plain ?? found.end;
    i = found.end;
  }
  flush(to);
  return out;
}

// A backslash goes, and the character after it is plain.
function literal(text, i, to) {
  return i + 1 < to && /[!-/:-@[-`{-~]/.test(text[i + 1]) ? { plain: i + 1, end: i + 2 } : null;
}

function special(text, i, to, none, depth, leaves) {
  const c = text[i];
  if (c === "`") {
    let n = 1;
    while (text[i + n] === "`") n++;
    const mark = "`".repeat(n);
    if (none.has(mark)) return null;
    let end = text.indexOf(mark, i + n);
    while (end >= 0 && end < to && text[end + n] === "`") {
      let next = end;
      while (text[next] === "`") next++;
      end = text.indexOf(mark, next);
    }
    if (end < 0 || end + n > to) none.add(mark);
    else return { node: { tag: "code", children: leaves(i + n, end) }, end: end + n };
    return null;
  }
  if (c === "[" || (c === "!" && text[i + 1] === "[")) return link(text, i, to, none, depth, leaves);
  if (depth >= DEEPEST || (c !== "*" && c !== "_" && c !== "~")) return null;
  for (const [mark, tag] of MARKS) {
    const inner = i + mark.length;
    if (none.has(mark) || !text.startsWith(mark, i) || inner >= to || /\s/.test(text[inner])) continue;
    if (mark[0] === "_" && word(text[i - 1])) continue;
    const end = closing(text, inner, to, mark);
    if (end < 0) none.add(mark);
    else if (end > inner) return { node: { tag, children: spans(text, inner, end, leaves, depth + 1) }, end: end + mark.length };
  }
  return null;
}

// Where `mark` closes what it opened, −1 for nowhere.
function closing(text, from, to, mark) {
  for (let at = text.indexOf(mark, from); at >= 0 && at + mark.length <= to; at = text.indexOf(mark, at + 1)) {
    if (/\s/.test(text[at - 1]) || text[at - 1] === "\\" || (mark[0] === "_" && word(text[at + mark.length]))) continue;
    if (mark.length === 1 && at + 1 < to && text[at + 1] === mark) at++; // of two, neither is a single one
    else return mark.length === 2 && text[at + 2] === mark[0] && at + 3 <= to ? at + 1 : at;
  }
  return -1;
}

function link(text, i, to, none, depth, leaves) {
  if (none.has("](") || depth >= DEEPEST) return null;
  const open = text[i] === "!" ? i + 2 : i + 1;
  const middle = text.indexOf("](", open);
  const end = middle < 0 ? -1 : text.indexOf(")", middle);
  if (end < 0 || end >= to) {
    none.add("](");
    return null;
  }
  const address = text.slice(middle + 2, end).trim().split(/\s/)[0];
  if (text.slice(open, middle).includes("\n\n") || middle - open > 1000) return null;
  // an address is shown and never followed by a click on a token; an image would be a request to elsewhere
  return { node: { tag: "span", attributes: { class: "link", title: address }, children: spans(text, open, middle, leaves, depth + 1) }, end: end + 1 };
}
