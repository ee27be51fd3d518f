/* Connect the page's controls, and show the first samples. */

function progress() {
  const suspects = facts.samples.filter((sample) => sample.category === "suspect");
  const wanted = suspects.length ? suspects : facts.samples.filter((sample) => sample.category === "to decide");
  const done = wanted.filter((sample) => !isOpen(sample.id)).length;
  $("progress").max = Math.max(1, wanted.length);
  $("progress").value = done;
  $("progress-text").textContent = wanted.length
    ? `${done.toLocaleString("en")} of ${wanted.length.toLocaleString("en")} ${suspects.length ? "suspects" : `${NOUN}s`} decided`
    : `${counted(decisions.bySample.size, NOUN)} decided`;
  $("next-undecided").disabled = decisions.bySample.size === 0;
  $("undo").disabled = decisions.history.length === 0;
  $("download").disabled = decisions.bySample.size === 0;
}

decisions.listeners.push((changed) => {
  const ids = [...new Set(changed.flatMap((id) => [id, ...othersOf(id)]))];
  for (const id of ids) if ($(`sample-${id}`)) refresh($(`sample-${id}`), byId.get(id));
  if ($("detail").open && ids.includes(visible[current].id)) refresh($("detail-body"), visible[current]);
  progress();
});
/* The text changes only when the state does: screen readers read each change. */
function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

decisions.storage.onstate = (unsaved, problem) => {
  const saved = facts.served ? "saved" : "kept in this browser";
  setText($("saved"), unsaved ? `${counted(unsaved, "decision")} not saved yet` : problem ? "not connected" : saved);
  $("saved").classList.toggle("failed", problem !== null);
  $("unsaved").hidden = problem === null;
  if (problem === null) return;
  const reason = problem.replaceAll("`", "");
  const rescue = facts.served ? " Then load that file on the page of the new review, or give it to gwaudit apply." : "";
  setText($("unsaved"), unsaved
    ? `${counted(unsaved, "decision")} ${unsaved === 1 ? "is" : "are"} not saved: ${reason} Press “Download decisions” before you close this page: the file holds all of your decisions.${rescue}`
    : `Decisions that you make now will not be saved: ${reason}`);
};
window.addEventListener("beforeunload", (event) => {
  if (decisions.storage.pending.size) event.preventDefault();
});

filters.addEventListener("input", (event) => { if (event.target.matches("input")) show(); });
filters.addEventListener("change", (event) => { if (event.target.matches("select")) show(); });
filters.addEventListener("reset", () => setTimeout(show));
filters.addEventListener("submit", (event) => event.preventDefault());
$("none-reset").addEventListener("click", () => { filters.reset(); show(); });
$("undo").addEventListener("click", undo);
$("next-undecided").addEventListener("click", nextUndecided);
$("select-all").addEventListener("click", selectAll);
for (const button of $("bulk").querySelectorAll("[data-bulk]")) button.addEventListener("click", () => decideSelected(button.dataset.bulk));
$("select-none").addEventListener("click", () => select([...selected], false));
$("help-button").addEventListener("click", () => $("help").showModal());
$("download").addEventListener("click", () => {
  const address = URL.createObjectURL(new Blob([decisionsAsCsv()], { type: "text/csv;charset=utf-8" }));
  element("a", { href: address, download: "decisions.csv" }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
});
$("load").addEventListener("change", async (event) => {
  const [file] = event.target.files;
  if (!file) return;
  const { changes, text, complete } = readDecisions(await file.text());
  event.target.value = ""; // the same file can be loaded again
  decisions.set(changes);
  $("loaded").hidden = false;
  $("loaded").classList.toggle("warning", !complete);
  $("loaded-text").textContent = `${file.name}: ${text}`;
});
$("show-contradictions")?.addEventListener("click", showContradictions);
$("loaded-close").addEventListener("click", () => { $("loaded").hidden = true; });
for (const button of document.querySelectorAll("button.confusion")) {
  button.addEventListener("click", () => showConfusion(Number(button.dataset.given), Number(button.dataset.suggested)));
}
if (DIGIT_KEYS.size) {
  $("digit-keys").hidden = $("digit-names").hidden = false;
  $("digit-keys").replaceChildren(...[...DIGIT_KEYS.keys()].flatMap((digit) => [element("kbd", { text: digit }), " "]));
  $("digit-names").textContent = `choose the ${facts.multi_label ? "label" : "class"}: ${[...DIGIT_KEYS].map(([digit, label]) => `${digit} = ${shortened(names[label], 30)}`).join(", ")}`;
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
