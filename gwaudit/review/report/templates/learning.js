/* Follow what the server learns from the decisions: headline, order, probabilities and suggested classes.

   The samples up to the current one stay where they are; the undecided ones behind it are sorted anew. A change waits while
   samples are selected or a dialog is open. */

let learned = null; // what came from the server, and is not shown yet

function follow(news) {
  learned = news;
  showLearned();
}

function showLearned() {
  if (learned === null || selected.size || document.querySelector("dialog[open]")) return;
  const { headline, samples } = learned;
  learned = null;
  setText($("learned"), headline);
  for (const [id, rank, probability, suggested] of samples) {
    const sample = byId.get(id);
    if (sample) Object.assign(sample, { rank, probability, suggested });
  }
  const passed = new Set(visible.slice(0, current + 1));
  facts.samples.sort((one, other) => one.rank - other.rank || one.id - other.id);
  const behind = facts.samples.filter((sample) => passes(sample) && !passed.has(sample));
  const stay = current + 1;
  visible = [...visible.slice(0, stay), ...behind];
  const shown = Math.max(drawn, stay);
  while (gallery.children.length > stay) gallery.lastChild.remove();
  for (const node of gallery.children) renew(node);
  drawn = stay;
  drawMore(shown);
  showSelection();
  progress();
  nearEnd.observe($("more"));
}

/* Replace a card by one of the same sample, without losing the focus. */
function renew(node) {
  const position = [...gallery.children].indexOf(node);
  const { activeElement } = document;
  if (node.contains(activeElement)) return; // a person is at it: it stays as it is
  const fresh = card(visible[position], position);
  node.replaceWith(fresh);
  if (position === current) markCurrent(fresh, true);
}

if (facts.served) {
  decisions.storage.onlearned = follow;
  setInterval(showLearned, 1000);
}
