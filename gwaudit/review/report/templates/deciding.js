/* Move from sample to sample, select samples, and decide: on one sample, or on all selected ones.

   A card's button and a key decide on one sample. Only the buttons of the selection, and Shift with a key, decide on the
   selected samples. */

/* The current card is the one stop of the tab key in the gallery, together with its controls. */
function setCurrent(position) {
  current = position;
  for (const node of gallery.querySelectorAll('[aria-current="true"]')) markCurrent(node, false);
  if (visible.length) markCurrent(gallery.children[current], true);
}

function markCurrent(node, on) {
  if (on) node.setAttribute("aria-current", "true");
  else node.removeAttribute("aria-current");
  for (const part of [node, ...node.querySelectorAll("button, input")]) part.tabIndex = on ? 0 : -1;
}

function moveTo(position) {
  if (!visible.length) return;
  const wanted = Math.max(0, Math.min(visible.length - 1, position));
  if (wanted >= drawn) drawMore(wanted + BATCH);
  setCurrent(wanted);
  if ($("detail").open) return showDetail();
  const node = gallery.children[current];
  node.focus({ preventScroll: true });
  node.scrollIntoView({ block: "nearest", behavior: "auto" });
}

function focusOn(sample) {
  if ($("detail").open) $("detail-title").focus();
  else moveTo(visible.indexOf(sample));
}

/* Go to the first sample without a decision behind the current one, or else before it. */
function nextUndecided() {
  const positions = [...visible.keys()].map((i) => (current + 1 + i) % visible.length);
  const next = positions.find((position) => isOpen(visible[position].id));
  if (next === undefined) announce("Every sample shown has a decision.");
  else moveTo(next);
}

function columns() {
  return getComputedStyle(gallery).gridTemplateColumns.split(" ").length;
}

/* Whether at least a part of a card shows between the bar and the end of the window. */
function inSight(node) {
  const { top, bottom } = node.getBoundingClientRect();
  const bar = $("bar");
  const above = getComputedStyle(bar).position === "sticky" ? Math.max(0, bar.getBoundingClientRect().bottom) : 0;
  return bottom > above + 40 && top < window.innerHeight - 40;
}

/* A key never acts on a card that is out of sight: the first card in sight becomes the current one instead. */
function bringCurrentInSight() {
  if (!visible.length) return false;
  if ($("detail").open || inSight(gallery.children[current])) return true;
  const first = [...gallery.children].findIndex(inSight);
  moveTo(first < 0 ? current : first);
  announce(`The current sample is now #${visible[current].rank}: press the key again.`);
  return false;
}

function toggle(id, on = !selected.has(id)) {
  select([id], on);
}

function select(ids, on) {
  for (const id of ids) {
    if (on) selected.add(id);
    else selected.delete(id);
    if ($(`sample-${id}`)) refresh($(`sample-${id}`), byId.get(id));
  }
  showSelection();
}

function selectAll() {
  const all = selected.size < visible.length;
  select(all ? visible.map((sample) => sample.id) : [...selected], all);
}

const counted = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;

const BULK_TEXTS = {
  suggest: (these) => `Take the suggestions of ${these}`, keep: (these) => `Keep ${these}`,
  choose: (these) => `Other class for ${these}…`, drop: (these) => `Drop ${these}`,
  unsure: (these) => `Mark ${these} as unsure`, clear: (these) => `Clear the decisions on ${these}`,
};

function showSelection() {
  const all = visible.length.toLocaleString("en"), some = selected.size.toLocaleString("en");
  $("count").textContent = `${all} shown${selected.size ? `, ${some} selected` : ""}`;
  $("select-all").textContent = visible.length && selected.size === visible.length ? "Select none" : `Select all ${all} shown`;
  $("bulk").hidden = selected.size === 0;
  for (const button of $("bulk").querySelectorAll("[data-bulk]")) {
    button.firstChild.textContent = `${BULK_TEXTS[button.dataset.bulk](`the ${some} selected`)} `;
  }
}

/* Return the decision that an action makes on a sample: null for none, undefined where the action changes nothing. */
function decisionOf(kind, sample, label) {
  if (kind === "clear") return decisions.get(sample.id) ? null : undefined;
  if (kind === "suggest") return proposed(sample) >= 0 ? relabelled(sample, proposed(sample)) : undefined;
  return kind === "choose" ? relabelled(sample, label) : { decision: kind, label: null };
}

/* The label that one click gives: the suggested one; in multi-label data the only other one. */
function proposed(sample) {
  return facts.multi_label ? 1 - sample.given : sample.suggested;
}

/* Choosing the given label is the same as keeping it. */
function relabelled(sample, label) {
  return label === sample.given ? { decision: "keep", label: null } : { decision: "relabel", label };
}

/* Decide on these samples, as one step of undo; return how many were decided. */
function decide(kind, ids, label) {
  const changes = ids.map((id) => [id, decisionOf(kind, byId.get(id), label)]).filter(([, decision]) => decision !== undefined);
  decisions.set(changes);
  return changes.length;
}

/* Decide on one sample; `label` is the class that was chosen. */
function decideOne(kind, sample, { label = null, advance = false } = {}) {
  if (!sample) return;
  if (kind === "choose" && label === null) {
    return chooseClass(subjectOf(sample), (chosen) => decideOne("choose", sample, { label: chosen, advance }));
  }
  const changed = decide(kind, [sample.id], label);
  const reason = kind === "suggest" ? "no class is suggested" : "no decision";
  const verdict = changed ? verdictText(decisions.get(sample.id)) || "decision cleared" : reason;
  announce(`#${sample.rank} ${shortened(subjectOf(sample), 60)}: ${verdict}${selected.size ? ` (this sample only; Shift and the key for the ${selected.size} selected)` : ""}`);
  if (kind === "clear") focusOn(sample); // the button may be gone
  else if (changed && advance && !$("detail").open) moveTo(visible.indexOf(sample) + 1);
}

/* Decide on all selected samples, and end the selection. */
function decideSelected(kind, label = null) {
  const ids = [...selected];
  if (!ids.length) return announce("No sample is selected: Shift and a key decide on the selected samples.");
  if (kind === "choose" && label === null) {
    return chooseClass(counted(ids.length, `selected ${NOUN}`), (chosen) => decideSelected("choose", chosen));
  }
  const replaced = ids.filter((id) => decisions.get(id)).length;
  const changed = decide(kind, ids, label);
  const done = { clear: "cleared", keep: "kept", drop: "to be dropped", unsure: "unsure" }[kind] ?? "relabelled";
  const rest = ids.length - changed;
  select(ids, false);
  announce([
    `${counted(changed, NOUN)}: ${done}.`,
    kind !== "clear" && replaced ? `${replaced.toLocaleString("en")} had a decision before.` : "",
    rest ? `${counted(rest, NOUN)} had ${kind === "clear" ? "no decision" : "no suggestion"}.` : "",
    changed ? "Undo takes all of this back." : "",
  ].join(" "));
}

function undo() {
  const ids = decisions.undo();
  const position = visible.findIndex((sample) => ids.includes(sample.id));
  announce(ids.length ? `Decision on ${counted(ids.length, NOUN)} undone.` : "There is nothing to undo.");
  if (position >= 0) moveTo(position);
}

function announce(text) {
  $("announce").textContent = shortened(text, 300);
}

function chooseClass(subject, onchoice) {
  const dialog = $("chooser"), search = $("chooser-search"), list = $("chooser-list");
  const choose = (label) => { dialog.close(); onchoice(label); };
  const fill = () => {
    const wanted = search.value.toLowerCase();
    const matches = names.map((name, label) => [name, label]).filter(([name]) => name.toLowerCase().includes(wanted));
    matches.sort(([a], [b]) => Number(b.toLowerCase().startsWith(wanted)) - Number(a.toLowerCase().startsWith(wanted)));
    list.replaceChildren(...matches.slice(0, 200).map(([name, label], i) =>
      element("li", {}, element("button", { type: "button", class: i ? "" : "first", dir: "auto", text: shortened(name, 300), onclick: () => choose(label) }))));
    if (matches.length > 200) list.append(element("li", { text: `${(matches.length - 200).toLocaleString("en")} more: type a part of the name` }));
  };
  $("chooser-subject").textContent = shortened(subject, 200);
  search.value = "";
  search.oninput = fill;
  search.onkeydown = (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    list.querySelector("button")?.click();
  };
  fill();
  dialog.showModal();
  search.focus();
}

/* The class of each digit key. Where names hold numbers, a digit stands for the class of that number alone. */
const DIGIT_KEYS = (() => {
  if (names.length > 10) return new Map();
  const numbers = names.map((name) => name.match(/[-+]?\d+([.,]\d+)?/)?.[0]);
  if (numbers.every((number) => number === undefined)) return new Map(names.map((name, label) => [String(label), label]));
  const named = (digit) => {
    const labels = numbers.flatMap((number, label) => (number === digit ? [label] : []));
    return names.includes(digit) ? names.indexOf(digit) : labels.length === 1 ? labels[0] : null;
  };
  return new Map([..."0123456789"].map((digit) => [digit, named(digit)]).filter(([, label]) => label !== null));
})();
const DECIDING_KEYS = { k: "keep", s: "suggest", Enter: "suggest", ...(facts.multi_label ? {} : { c: "choose" }), d: "drop", u: "unsure", Backspace: "clear", Delete: "clear" };
const OTHER_KEYS = {
  x: () => $("detail").open || toggle(visible[current].id),
  a: () => $("detail").open || selectAll(),
  " ": () => ($("detail").open ? $("detail").close() : enlarge()),
};
const KEYS_ANYWHERE = { z: undo, j: nextUndecided, "/": () => filters.elements.search.focus(), "?": () => $("help").showModal() };
const STEPS = { ArrowRight: () => 1, ArrowLeft: () => -1, ArrowDown: columns, ArrowUp: () => -columns(), n: () => 1, p: () => -1 };

/* Return the action of a key, or null where the key belongs to the browser or to a field. */
function actionOf(event) {
  const { target, shiftKey } = event;
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return null;
  if (target.closest("input:not([type=checkbox]), select, textarea, [contenteditable], .scroll, dialog:not(#detail)")) return null;
  const presses = event.key === "Enter" || event.key === " ";
  const detail = $("detail").open;
  if (presses && target.closest("button, a, summary, input, label")) return null;
  if (detail && event.key === "Enter") return null;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (key in KEYS_ANYWHERE) return detail && key !== "z" ? null : KEYS_ANYWHERE[key];
  if (key in STEPS) {
    const vertical = key === "ArrowDown" || key === "ArrowUp";
    const elsewhere = detail ? vertical : !visible.length || !inSight(gallery.children[current]);
    return elsewhere ? null : () => step(STEPS[key](), shiftKey && !detail); // the arrows scroll elsewhere
  }
  const digit = DIGIT_KEYS.get(key) ?? null;
  const kind = digit === null ? DECIDING_KEYS[key] : "choose";
  if (kind && shiftKey && !detail) return () => decideSelected(kind, digit);
  if (kind) return () => bringCurrentInSight() && decideOne(kind, visible[current], { label: digit, advance: true });
  return key in OTHER_KEYS ? () => bringCurrentInSight() && OTHER_KEYS[key]() : null;
}

function step(by, selecting) {
  if (selecting) toggle(visible[current].id, true);
  moveTo(current + by);
  if (selecting) toggle(visible[current].id, true);
}

document.addEventListener("keydown", (event) => {
  const action = actionOf(event);
  if (!action) return;
  event.preventDefault();
  action();
});
