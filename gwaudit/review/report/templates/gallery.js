/* Show the samples as cards, and filter them. */

const $ = (id) => document.getElementById(id);
const decisions = new Decisions(facts.served ? new ServerStorage() : new BrowserStorage());
const names = facts.answers;
const NOUN = facts.multi_label ? "label" : "sample"; // what a decision is about
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
function preview(sample, large = false) {
  if (sample.image) return picture(sample, large);
  if (sample.missing) return element("div", { class: "text", text: `not shown: ${sample.missing}`, dir: "auto", tabindex: "-1" });
  if (sample.text !== undefined) return element("div", { class: "text", text: sample.text, dir: "auto", tabindex: "-1" });
  if (sample.features) return element("div", { class: "features", text: sample.features.join("  ") + (sample.more_features ? " …" : "") });
  return null;
}

/* Return the picture of a sample, with a frame around the part that the network saw, where that is not all of it. */
function picture(sample, large) {
  const note = sample.seen ? "; the frame marks the part that the network saw" : "";
  const image = element("img", { src: sample.image, alt: `sample ${shortened(sample.key, 100)}${note}`, decoding: "async" });
  image.addEventListener("load", () => image.classList.toggle("small", Math.max(image.naturalWidth, image.naturalHeight) <= 64));
  if (large && facts.large_pictures) {
    const whole = new Image();
    whole.onload = () => { image.src = whole.src; }; // else the smaller one stays
    whole.src = `picture/${sample.sample_id}`;
  }
  const frame = element("div", { class: "frame" }, image);
  if (sample.seen) {
    const [left, top, right, bottom] = sample.seen.map((share) => 100 * share);
    const seen = element("div", { class: "seen", title: "the part that the network saw" });
    Object.assign(seen.style, { left: `${left}%`, top: `${top}%`, width: `${right - left}%`, height: `${bottom - top}%` });
    frame.append(seen);
  }
  return element("div", { class: "picture" }, frame);
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
  if (facts.multi_label) {
    rows.unshift(["class", facts.classes[sample.class]]);
    rows.push(["all given", sample.classes.map((label) => facts.classes[label]).join(", ") || "–"]);
  }
  if (sample.true !== undefined) rows.push(["true", nameOf(sample.true)]);
  for (const other of sample.same_input ?? []) rows.push(["same input", `${other.label} (${other.key})`]);
  for (const other of sample.split_copies ?? []) rows.push(["copy", `${other.label} (${other.key})`]);
  const parts = rows.flatMap(([term, name]) => [
    element("dt", { text: term }), element("dd", { text: shortened(name, 300), title: shortened(name, 1000), dir: "auto" }),
  ]);
  if (sample.nearest) parts.push(element("dt", { text: "nearest" }), element("dd", { class: "whole", text: countedLabels(sample.nearest), dir: "auto" }));
  return element("dl", { class: "labels" }, ...parts);
}

/* Return the given labels of samples with their numbers, the most frequent first: "3 dog, 1 cat". */
function countedLabels(samples) {
  const counts = new Map();
  for (const other of samples) counts.set(other.given, (counts.get(other.given) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1]).map(([label, count]) => `${count} ${shortened(nameOf(label), 60)}`).join(", ");
}

/* Return the nearest neighbours of a sample in latent space with their given labels; null where there are none. */
function neighbourList(sample) {
  if (!sample.nearest) return null;
  return element("div", { class: "prototype nearest" },
    element("h3", { text: "Nearest samples, with their given labels" }),
    element("ul", {}, ...sample.nearest.map((other) => element("li", { title: shortened(other.key, 1000) },
      preview({ key: other.key, ...facts.neighbours[other.id] }),
      element("span", { class: other.given === sample.given ? "" : "other", dir: "auto", text: shortened(nameOf(other.given), 60) }),
      element("span", { text: ` ${other.similarity.toFixed(2)}` })))));
}

/* The key of a sample; in multi-label data with the class that the card is about. */
const subjectOf = (sample) => (facts.multi_label ? `${sample.key}, ${facts.classes[sample.class]}` : sample.key);

/* Other labels of a sample: their ids. A dropped sample takes all of its labels along. */
const labelsOf = new Map();
for (const { id, sample_id } of facts.samples) labelsOf.set(sample_id, [...(labelsOf.get(sample_id) ?? []), id]);
const othersOf = (id) => (facts.multi_label ? (labelsOf.get(byId.get(id)?.sample_id) ?? []).filter((other) => other !== id) : []);
const isDropped = (id) => othersOf(id).some((other) => decisions.get(other)?.decision === "drop");
const isOpen = (id) => !decisions.get(id) && !isDropped(id);

/* Return the verdict on a sample and the buttons that decide on this sample alone. */
function controls(sample) {
  const button = (text, kind, key, extra = "", title = "") => element("button", {
    type: "button", class: extra, "data-kind": kind, "aria-pressed": "false", title: `${title}key ${key}`, text,
    onclick: (event) => decideOne(event.currentTarget.getAttribute("aria-pressed") === "true" && kind !== "choose" ? "clear" : kind, sample),
  });
  const verdict = element("div", { class: "verdict" },
    element("span", { class: "decided", dir: "auto" }),
    element("button", { type: "button", class: "clear", title: "clear the decision: key Backspace", text: "clear", onclick: () => decideOne("clear", sample) }));
  return [verdict, element("div", { class: "actions" },
    proposed(sample) >= 0 ? button(`take ${shortened(nameOf(proposed(sample)), 40)}`, "suggest", "S", "suggest") : null,
    button("keep", "keep", "K"), facts.multi_label ? null : button("other…", "choose", "C"),
    button("drop", "drop", "D", "", facts.multi_label ? "drop the whole sample: " : ""), button("unsure", "unsure", "U"))];
}

function card(sample, position) {
  const box = element("input", { type: "checkbox", "aria-label": `select #${sample.rank}`, onclick: () => toggle(sample.id) });
  const [verdict, actions] = controls(sample);
  actions.append(element("button", { type: "button", text: "enlarge", title: "key Space", onclick: () => { setCurrent(position); enlarge(); } }));
  const node = element("li", {
    class: "card", id: `sample-${sample.id}`, "data-id": sample.id,
    onclick: (event) => { if (!event.target.closest("button, input, label")) moveTo(position); },
    onfocusin: () => { if (current !== position) setCurrent(position); },
  },
    element("div", { class: "top" },
      element("label", {}, box, ` #${sample.rank} · ${sample.category}`),
      element("span", { title: "probability of being wrong", text: percent(sample.probability) })),
    preview(sample),
    element("div", { class: "key", title: shortened(sample.key, 1000), text: shortened(sample.key, 200), dir: "auto" }),
    labelList(sample),
    sparkline(sample.trajectory),
    verdict,
    actions,
  );
  markCurrent(node, false);
  refresh(node, sample);
  return node;
}

/* Update a card, or the close view, to the decision and the selection. */
function refresh(node, sample) {
  const decision = decisions.get(sample.id);
  const verdict = node.querySelector(".verdict");
  node.dataset.decision = verdict.dataset.decision = decision?.decision ?? "";
  const text = decision === null && isDropped(sample.id) ? "the sample is dropped" : verdictText(decision);
  verdict.querySelector(".decided").textContent = shortened(text, 300);
  const accepted = decision?.decision === "relabel" && decision.label === proposed(sample);
  const pressed = { suggest: accepted, choose: decision?.decision === "relabel" && !accepted };
  for (const button of node.querySelectorAll("[data-kind]")) {
    const kind = button.dataset.kind;
    button.setAttribute("aria-pressed", String(pressed[kind] ?? decision?.decision === kind));
  }
  const clear = verdict.querySelector(".clear");
  if (clear) clear.hidden = decision === null;
  const box = node.querySelector(".top input");
  if (!box) return; // the close view
  box.checked = selected.has(sample.id);
  node.classList.toggle("selected", box.checked);
  const summary = decision ? `, decided: ${verdictText(decision)}` : "";
  node.setAttribute("aria-label", shortened(`${sample.rank}: ${subjectOf(sample)}, given ${nameOf(sample.given)}, suggested ${nameOf(sample.suggested)}${summary}`, 600));
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
  const contradictions = facts.samples.some((sample) => sample.same_input) ? [["contradiction", "contradictory labels"]] : [];
  pick("category", [...[...new Set(facts.samples.map((sample) => sample.category))].map((name) => [name, name]), ...contradictions]);
  pick("decision", [["none", "undecided"], ["any", "decided"], ["keep", "kept"], ["relabel", "relabelled"], ["drop", "dropped"], ["unsure", "unsure"]]);
  const suspects = [...filters.elements.category.options].find((choice) => choice.value === "suspect");
  if (suspects) suspects.selected = suspects.defaultSelected = true; // also after a reset
}

/* Add a choice to a filter that has no such choice yet. */
function addChoice(name, value, text) {
  const select = filters.elements[name];
  if (![...select.options].some((option) => option.value === String(value))) select.append(element("option", { value, text: shortened(text, 60) }));
}

function passes(sample) {
  const { given, suggested, category, decision, from, to, search } = filters.elements;
  const decided = decisions.get(sample.id)?.decision;
  const wanted = search.value.toLowerCase();
  const probability = sample.probability === null ? null : 100 * sample.probability;
  return (given.value === "" || sample.given === Number(given.value))
    && (!facts.multi_label || filters.elements.class.value === "" || sample.class === Number(filters.elements.class.value))
    && (suggested.value === "" || sample.suggested === Number(suggested.value))
    && (category.value === "" || (category.value === "contradiction" ? sample.same_input : sample.category === category.value))
    && (decision.value === "" || (decision.value === "none" ? !decided : decision.value === "any" ? decided : decided === decision.value))
    && (probability === null ? !Number(from.value) && Number(to.value || 100) === 100 : probability >= Number(from.value || 0) && probability <= Number(to.value || 100))
    && (wanted === "" || sample.key.toLowerCase().includes(wanted) || (sample.text ?? "").toLowerCase().includes(wanted));
}

function show() {
  visible = facts.samples.filter(passes);
  drawn = 0;
  selected.clear();
  gallery.replaceChildren();
  $("none").hidden = visible.length > 0;
  drawMore();
  setCurrent(0);
  showSelection();
  nearEnd.observe($("more"));
}

function drawMore(upTo = drawn + BATCH) {
  const cards = visible.slice(drawn, upTo).map((sample, i) => card(sample, drawn + i));
  gallery.append(...cards);
  drawn = Math.max(drawn, Math.min(upTo, visible.length));
}

function showContradictions() {
  filters.reset();
  filters.elements.category.value = "contradiction";
  show();
}

function showConfusion(given, suggested) {
  filters.reset();
  filters.elements.category.value = "";
  for (const [name, value] of [["given", given], ["suggested", suggested]]) {
    addChoice(name, value, nameOf(value));
    filters.elements[name].value = String(value);
  }
  show();
  $("suspects").scrollIntoView();
}

