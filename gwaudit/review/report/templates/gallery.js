/* Show the samples as cards: filter them, move through them by keyboard, decide on one or several at a time. */

const $ = (id) => document.getElementById(id);
const decisions = new Decisions(facts.served ? new ServerStorage() : new BrowserStorage());
const names = facts.answers;
const gallery = $("gallery");
const BATCH = 60;

let visible = []; // samples that pass the filters
let drawn = 0; // number of these that are on the page so far
let current = 0; // position of the focused one among them
const selected = new Set();

function element(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "class") node.className = value;
    else if (name === "text") node.textContent = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== false && value !== null) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

const nameOf = (label) => (label === null || label < 0 ? "–" : names[label]);
const percent = (share) => (share === null ? "–" : `${(100 * share).toFixed(1)}%`);
const shortened = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

/* Return the sample for a person: an image, a text, or numbers; null without the data. */
function preview(sample) {
  if (sample.image) {
    const image = element("img", { src: sample.image, alt: `sample ${shortened(sample.key, 100)}`, decoding: "async" });
    image.addEventListener("load", () => image.classList.toggle("small", Math.max(image.naturalWidth, image.naturalHeight) <= 64));
    return element("div", { class: "picture" }, image);
  }
  if (sample.text !== undefined) return element("div", { class: "text", text: sample.text, dir: "auto", tabindex: "-1" });
  if (sample.features) return element("div", { class: "features", text: `${sample.features.join("  ")} …` });
  return null;
}

/* All curves have one scale, so that they can be compared. */
const highest = facts.samples.reduce((most, sample) => sample.trajectory.reduce((m, v) => Math.max(m, Math.abs(v ?? 0)), most), 1e-6);

function sparkline(trajectory) {
  const recorded = trajectory.filter((value) => value !== null);
  const svg = (tag, attributes) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    return node;
  };
  const mean = recorded.length ? recorded.reduce((sum, value) => sum + value, 0) / recorded.length : 0;
  const label = `alignment over the epochs, mean ${mean.toFixed(3)}`;
  const chart = svg("svg", { class: "spark", viewBox: "0 0 100 34", preserveAspectRatio: "none", role: "img", "aria-label": label });
  chart.append(svg("line", { class: "zero", x1: 0, x2: 100, y1: 17, y2: 17 }));
  const step = 100 / Math.max(1, trajectory.length - 1);
  const points = trajectory.map((value, i) => (value === null ? null : `${(i * step).toFixed(1)},${(17 - 15 * (value / highest)).toFixed(1)}`));
  chart.append(svg("polyline", { class: "path", points: points.filter((point) => point !== null).join(" ") }));
  return chart;
}

function verdictText(decision) {
  if (decision === null) return "";
  return { keep: "kept", drop: "to be dropped", unsure: "unsure", relabel: `→ ${nameOf(decision.label)}` }[decision.decision];
}

function labelList(sample) {
  const rows = [["given", nameOf(sample.given)], ["suggested", nameOf(sample.suggested)]];
  if (facts.multi_label) rows.unshift(["class", facts.classes[sample.class]]);
  if (sample.true !== undefined) rows.push(["true", nameOf(sample.true)]);
  return element("dl", { class: "labels" }, ...rows.flatMap(([term, name]) => [
    element("dt", { text: term }), element("dd", { text: shortened(name, 300), dir: "auto" }),
  ]));
}

function card(sample, position) {
  const act = (kind) => (event) => { event.stopPropagation(); current = position; decide(kind); };
  const button = (text, kind, key, extra = "") =>
    element("button", { type: "button", class: extra, tabindex: "-1", "data-kind": kind, "aria-pressed": "false", title: `key ${key}`, onclick: act(kind), text });
  const box = element("input", { type: "checkbox", tabindex: "-1", "aria-label": "select", hidden: facts.multi_label, onclick: (event) => { event.stopPropagation(); toggle(sample.id); } });
  const node = element("li", {
    class: "card", id: `sample-${sample.id}`, tabindex: "-1", "data-id": sample.id,
    onclick: () => moveTo(position), onfocus: () => { current = position; },
  },
    element("div", { class: "top" },
      element("label", {}, box, ` #${sample.rank} · ${sample.category}`),
      element("span", { title: "probability of being wrong", text: percent(sample.probability) })),
    preview(sample),
    element("div", { class: "key", title: shortened(sample.key, 1000), text: shortened(sample.key, 200), dir: "auto" }),
    labelList(sample),
    sparkline(sample.trajectory),
    element("div", { class: "verdict", dir: "auto" }),
    facts.multi_label ? null : element("div", { class: "actions" },
      sample.suggested >= 0 ? button(`take ${shortened(nameOf(sample.suggested), 40)}`, "suggest", "S", "suggest") : null,
      button("keep", "keep", "K"), button("other…", "choose", "C"), button("drop", "drop", "D"),
      button("unsure", "unsure", "U"),
      element("button", { type: "button", tabindex: "-1", text: "enlarge", title: "key Space", onclick: (event) => { event.stopPropagation(); moveTo(position); enlarge(); } })),
  );
  refresh(node, sample);
  return node;
}

/* Update a card to the decision and the selection. */
function refresh(node, sample) {
  const decision = decisions.get(sample.id);
  node.dataset.decision = decision?.decision ?? "";
  const verdict = node.querySelector(".verdict");
  verdict.dataset.decision = decision?.decision ?? "";
  verdict.textContent = shortened(verdictText(decision), 300);
  const accepted = decision?.decision === "relabel" && decision.label === sample.suggested;
  const pressed = { suggest: accepted, choose: decision?.decision === "relabel" && !accepted };
  for (const button of node.querySelectorAll("[data-kind]")) {
    const kind = button.dataset.kind;
    button.setAttribute("aria-pressed", String(pressed[kind] ?? decision?.decision === kind));
  }
  node.classList.toggle("selected", selected.has(sample.id));
  node.querySelector("input").checked = selected.has(sample.id);
  const summary = decision ? `, decided: ${verdictText(decision)}` : "";
  node.setAttribute("aria-label", shortened(`${sample.rank}: ${sample.key}, given ${nameOf(sample.given)}, suggested ${nameOf(sample.suggested)}${summary}`, 600));
}

/* Filters */

const filters = $("filters");

function fillFilters() {
  const option = (value, text) => element("option", { value, text: shortened(text, 60) });
  const pick = (name, choices) => filters.elements[name].replaceChildren(option("", "all"), ...choices.map(([value, text]) => option(value, text)));
  const labels = (part) => [...new Set(facts.samples.map((sample) => sample[part]))].filter((label) => label >= 0).sort((a, b) => a - b).map((label) => [label, nameOf(label)]);
  if (facts.multi_label) pick("class", [...new Set(facts.samples.map((sample) => sample.class))].sort((a, b) => a - b).map((label) => [label, facts.classes[label]]));
  pick("given", labels("given"));
  pick("suggested", labels("suggested"));
  pick("category", [...new Set(facts.samples.map((sample) => sample.category))].map((name) => [name, name]));
  pick("decision", [["none", "undecided"], ["any", "decided"], ["keep", "kept"], ["relabel", "relabelled"], ["drop", "dropped"], ["unsure", "unsure"]]);
  if (facts.samples.some((sample) => sample.category === "suspect")) filters.elements.category.value = "suspect";
}

function passes(sample) {
  const { given, suggested, category, decision, from, to, search } = filters.elements;
  const decided = decisions.get(sample.id)?.decision;
  const wanted = search.value.toLowerCase();
  const probability = 100 * (sample.probability ?? 0);
  return (given.value === "" || sample.given === Number(given.value))
    && (!facts.multi_label || filters.elements.class.value === "" || sample.class === Number(filters.elements.class.value))
    && (suggested.value === "" || sample.suggested === Number(suggested.value))
    && (category.value === "" || sample.category === category.value)
    && (decision.value === "" || (decision.value === "none" ? !decided : decision.value === "any" ? decided : decided === decision.value))
    && probability >= Number(from.value || 0) && probability <= Number(to.value || 100)
    && (wanted === "" || sample.key.toLowerCase().includes(wanted) || (sample.text ?? "").toLowerCase().includes(wanted));
}

function show() {
  visible = facts.samples.filter(passes);
  drawn = current = 0;
  selected.clear();
  gallery.replaceChildren();
  $("none").hidden = visible.length > 0;
  $("count").textContent = `${visible.length.toLocaleString("en")} shown`;
  drawMore();
  nearEnd.observe($("more"));
}

function drawMore(upTo = drawn + BATCH) {
  const cards = visible.slice(drawn, upTo).map((sample, i) => card(sample, drawn + i));
  gallery.append(...cards);
  drawn = Math.max(drawn, Math.min(upTo, visible.length));
  if (cards.length && !gallery.querySelector('[tabindex="0"]')) gallery.firstElementChild.tabIndex = 0;
}

function showConfusion(given, suggested) {
  filters.reset();
  filters.elements.category.value = "";
  for (const [name, value] of [["given", given], ["suggested", suggested]]) {
    const select = filters.elements[name];
    if (![...select.options].some((option) => option.value === String(value))) select.append(element("option", { value, text: shortened(nameOf(value), 60) }));
    select.value = String(value);
  }
  show();
  $("suspects").scrollIntoView();
}

/* Moving and deciding */

function moveTo(position) {
  if (!visible.length) return;
  current = Math.max(0, Math.min(visible.length - 1, position));
  if (current >= drawn) drawMore(current + BATCH);
  for (const node of gallery.querySelectorAll('[tabindex="0"]')) node.tabIndex = -1;
  const node = gallery.children[current];
  node.tabIndex = 0;
  node.focus({ preventScroll: true });
  node.scrollIntoView({ block: "nearest", behavior: "auto" });
}

function columns() {
  return getComputedStyle(gallery).gridTemplateColumns.split(" ").length;
}

function toggle(id, on = !selected.has(id)) {
  if (on) selected.add(id);
  else selected.delete(id);
  const node = $(`sample-${id}`);
  if (node) refresh(node, byId.get(id));
  $("count").textContent = `${visible.length.toLocaleString("en")} shown${selected.size ? `, ${selected.size} selected` : ""}`;
}

function selectAll() {
  const all = selected.size < visible.length;
  for (const sample of visible) toggle(sample.id, all);
}

/* Decide on the selected samples, or on the current one. */
function decide(kind, label = null) {
  if (!visible.length || facts.multi_label) return; // a decision is about the one label of a sample
  const several = selected.size > 0;
  const ids = several ? [...selected] : [visible[current].id];
  if (kind === "choose" && label === null) return chooseClass();
  const changes = [];
  for (const id of ids) {
    const chosen = kind === "suggest" ? byId.get(id).suggested : label;
    if (kind !== "suggest" && kind !== "choose") changes.push([id, { decision: kind, label: null }]);
    else if (chosen >= 0) changes.push([id, relabelled(byId.get(id), chosen)]);
  }
  decisions.set(changes);
  announce(several ? `${ids.length} samples decided` : `${visible[current].key}: ${verdictText(decisions.get(ids[0]))}`);
  if (several) {
    selected.clear();
    for (const id of ids) if ($(`sample-${id}`)) refresh($(`sample-${id}`), byId.get(id));
    toggle(visible[current].id, false);
  } else moveTo(current + 1);
}

/* Choosing the given label is the same as keeping it. */
function relabelled(sample, label) {
  return label === sample.given ? { decision: "keep", label: null } : { decision: "relabel", label };
}

function undo() {
  const ids = decisions.undo();
  const position = visible.findIndex((sample) => ids.includes(sample.id));
  announce(ids.length ? `decision on ${ids.length} samples undone` : "nothing to undo");
  if (position >= 0) moveTo(position);
}

function announce(text) {
  $("announce").textContent = shortened(text, 300);
}

function chooseClass() {
  const dialog = $("chooser"), search = $("chooser-search"), list = $("chooser-list");
  const fill = () => {
    const wanted = search.value.toLowerCase();
    const matches = names.map((name, label) => [name, label]).filter(([name]) => name.toLowerCase().includes(wanted));
    matches.sort(([a], [b]) => Number(b.toLowerCase().startsWith(wanted)) - Number(a.toLowerCase().startsWith(wanted)));
    list.replaceChildren(...matches.slice(0, 200).map(([name, label], i) =>
      element("li", {}, element("button", { type: "button", class: i ? "" : "first", dir: "auto", text: shortened(name, 300), onclick: () => { dialog.close(); decide("choose", label); } }))));
  };
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

function enlarge() {
  const sample = visible[current];
  if (!sample) return;
  $("detail-title").textContent = `#${sample.rank}: ${shortened(sample.key, 200)}`;
  const prototypesOf = (label) => {
    const samples = facts.prototypes[label] ?? [];
    if (!samples.length || samples.every((other) => preview(other) === null)) return null;
    return element("div", { class: "prototype" }, element("h3", { text: `Prototypes of ${shortened(facts.classes[label] ?? "–", 100)}`, dir: "auto" }), element("ul", {}, ...samples.map((other) => element("li", {}, preview(other)))));
  };
  const whole = element("p", { class: "whole-key", dir: "auto", text: sample.key });
  const numbers = element("p", { text: `probability of being wrong ${percent(sample.probability)}, mean alignment ${sample.alignment ?? "–"}, ${sample.category}, sample ${sample.sample_id}` });
  const labels = facts.multi_label ? [sample.class] : [...new Set([sample.given, sample.suggested])];
  $("detail-body").replaceChildren(...[preview(sample), labelList(sample), sparkline(sample.trajectory), numbers, whole, ...labels.map(prototypesOf)].filter((part) => part !== null));
  $("detail").showModal();
}

const ACTIONS = {
  k: () => decide("keep"), s: () => decide("suggest"), Enter: () => decide("suggest"), c: () => decide("choose"),
  d: () => decide("drop"), u: () => decide("unsure"), z: undo, x: () => facts.multi_label || !visible.length || toggle(visible[current].id),
  a: () => facts.multi_label || selectAll(), " ": enlarge, "/": () => filters.elements.search.focus(), "?": () => $("help").showModal(),
};
const STEPS = { ArrowRight: () => 1, ArrowLeft: () => -1, ArrowDown: columns, ArrowUp: () => -columns() };

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input:not([type=checkbox]), select, textarea, dialog, .scroll");
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("button, a") && (event.key === "Enter" || event.key === " ")) return;
  const digit = names.length <= 10 && /^[0-9]$/.test(event.key) ? Number(event.key) : null;
  const inGallery = event.target.closest(".card");
  if (event.key in STEPS) {
    if (!inGallery) return; // arrows scroll the page elsewhere
    if (event.shiftKey) toggle(visible[current].id, true);
    moveTo(current + STEPS[event.key]());
    if (event.shiftKey) toggle(visible[current].id, true);
  } else if (digit !== null && digit < names.length) {
    if (!inGallery) return;
    decide("choose", digit);
  } else {
    const action = ACTIONS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    const anywhere = ["?", "/", "z"].includes(event.key.toLowerCase());
    if (!action || !(inGallery || anywhere)) return;
    action();
  }
  event.preventDefault();
});

if (facts.multi_label) for (const node of document.querySelectorAll(".progress, #select-all")) node.hidden = true;

function progress() {
  const suspects = facts.samples.filter((sample) => sample.category === "suspect");
  const done = suspects.filter((sample) => decisions.get(sample.id)).length;
  $("progress").max = Math.max(1, suspects.length);
  $("progress").value = done;
  $("progress-text").textContent = `${done.toLocaleString("en")} of ${suspects.length.toLocaleString("en")} suspects decided`;
  $("undo").disabled = decisions.history.length === 0;
  $("download").disabled = decisions.bySample.size === 0;
}

decisions.listeners.push((ids) => {
  for (const id of ids) if ($(`sample-${id}`)) refresh($(`sample-${id}`), byId.get(id));
  progress();
});
decisions.storage.onstate = (text, failed) => {
  $("saved").textContent = text;
  $("saved").classList.toggle("failed", failed);
};

filters.addEventListener("input", (event) => { if (event.target.matches("input")) show(); });
filters.addEventListener("change", (event) => { if (event.target.matches("select")) show(); });
filters.addEventListener("reset", () => setTimeout(show));
filters.addEventListener("submit", (event) => event.preventDefault());
$("none-reset").addEventListener("click", () => { filters.reset(); show(); });
$("undo").addEventListener("click", undo);
$("select-all").addEventListener("click", selectAll);
$("help-button").addEventListener("click", () => $("help").showModal());
$("download").addEventListener("click", () => {
  const address = URL.createObjectURL(new Blob([decisions.toCsv()], { type: "text/csv;charset=utf-8" }));
  element("a", { href: address, download: "decisions.csv" }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
});
$("load").addEventListener("change", async (event) => {
  const [file] = event.target.files;
  if (!file) return;
  const result = decisions.fromCsv(await file.text());
  event.target.value = "";
  announce(result ? `${result.loaded} decisions loaded` : "not a file of decisions");
  $("saved").textContent = result
    ? `${result.loaded} decisions loaded${result.skipped ? `, ${result.skipped} rows not understood` : ""}`
    : "This is no file of decisions: it needs the columns sample_id, decision and label.";
});
for (const button of document.querySelectorAll("button.confusion")) {
  button.addEventListener("click", () => showConfusion(Number(button.dataset.given), Number(button.dataset.suggested)));
}
if (!facts.multi_label && names.length <= 10) {
  $("digit-keys").hidden = $("digit-names").hidden = false;
  $("digit-names").textContent = `choose the class: ${names.map((name, label) => `${label} = ${shortened(name, 30)}`).join(", ")}`;
}
const prototypeList = $("prototype-list");
if (prototypeList) {
  prototypeList.append(...Object.entries(facts.prototypes).map(([label, samples]) =>
    element("div", { class: "prototype" }, element("h3", { text: shortened(facts.classes[label], 200), dir: "auto" }), element("ul", {}, ...samples.map((sample) => element("li", {}, preview(sample) ?? ""))))));
}

const nearEnd = new IntersectionObserver((entries) => {
  if (!entries.some((entry) => entry.isIntersecting)) return;
  drawMore();
  nearEnd.unobserve($("more")); // observed again, it reports whether more cards are needed
  if (drawn < visible.length) nearEnd.observe($("more"));
}, { rootMargin: "1500px" });

$("fold").open = !matchMedia("(max-width: 640px)").matches;
fillFilters();
decisions.storage.load();
show();
progress();
