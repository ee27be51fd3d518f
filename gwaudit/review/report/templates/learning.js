/* Follow what the server learns from the decisions: numbers, order, probabilities, categories and suggested classes.

   The samples up to the last one in sight stay where they are; those in sight, which a person is looking at, stay as they are
   too. The undecided ones behind are sorted anew. A change waits while samples are selected. */

let learned = new Map(); // by sample id, what came from the server and is not shown yet

function follow({ sentences, samples }) {
  for (const [name, text] of Object.entries(sentences)) setText($(`${name}-sentence`), text);
  learned = new Map(samples.filter(([id]) => byId.has(id)).map(([id, ...values]) => [id, values]));
  showLearned();
}

function showLearned() {
  if (!learned.size || selected.size) return;
  const inView = [...gallery.children].map((node, position) => (position === current || inSight(node) ? position : -1)).filter((position) => position >= 0);
  const stay = visible.length ? Math.max(...inView) + 1 : 0;
  const held = new Set(inView.map((position) => visible[position].id));
  const news = [...learned].filter(([id]) => !held.has(id));
  if (!news.length) return;
  for (const [id, [rank, probability, suggested, category]] of news) {
    learned.delete(id);
    if (decisions.get(id)) continue; // decided meanwhile
    Object.assign(byId.get(id), { rank, probability, suggested, category });
    if (suggested >= 0) addChoice("suggested", suggested, nameOf(suggested));
    addChoice("category", category, category);
  }
  const before = visible.slice(0, stay), passed = new Set(before);
  facts.samples.sort((one, other) => one.rank - other.rank || one.id - other.id);
  visible = [...before, ...facts.samples.filter((sample) => passes(sample) && !passed.has(sample))];
  const shown = Math.max(drawn, stay);
  while (gallery.children.length > stay) gallery.lastChild.remove();
  before.forEach((sample, position) => { if (!held.has(sample.id)) gallery.children[position].replaceWith(card(sample, position)); });
  drawn = stay;
  drawMore(shown);
  $("none").hidden = visible.length > 0;
  showSelection();
  progress();
  nearEnd.observe($("more"));
}

if (facts.served) {
  decisions.storage.onlearned = follow;
  setInterval(showLearned, 1000);
}
