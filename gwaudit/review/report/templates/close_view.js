/* Show one sample large, beside prototypes of its classes. */

function enlarge() {
  if (!visible[current]) return;
  showDetail();
  const dialog = $("detail");
  dialog.showModal();
  $("detail-title").focus();
  dialog.scrollTop = 0;
}

/* Fill the close view with the current sample. */
function showDetail() {
  const sample = visible[current];
  $("detail-title").textContent = `#${sample.rank}: ${shortened(subjectOf(sample), 200)}`;
  const prototypesOf = (label) => {
    const samples = facts.prototypes[label] ?? [];
    if (!samples.length || samples.every((other) => preview(other) === null)) return null;
    return element("div", { class: "prototype" }, element("h3", { text: `Prototypes of ${shortened(facts.classes[label] ?? "–", 100)}`, dir: "auto" }), element("ul", {}, ...samples.map((other) => element("li", {}, preview(other)))));
  };
  const whole = element("p", { class: "whole-key", dir: "auto", text: sample.key });
  const numbers = element("p", { text: `probability of being wrong ${percent(sample.probability)}, mean alignment ${sample.alignment ?? "–"}, ${sample.category}, sample ${sample.sample_id}` });
  const labels = facts.multi_label ? [sample.class] : [...new Set([sample.given, sample.suggested])];
  const body = $("detail-body");
  const note = sample.seen ? element("p", { text: "The frame marks the part of the picture that the network saw." }) : null;
  body.replaceChildren(...[preview(sample, true), note, labelList(sample), ...controls(sample), sparkline(sample.trajectory), neighbourList(sample), numbers, whole, ...labels.map(prototypesOf)].filter((part) => part !== null));
  refresh(body, sample);
}

$("detail").addEventListener("close", () => moveTo(current));
