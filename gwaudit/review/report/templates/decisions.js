/* Hold the decisions of a person, and undo them. */

const facts = JSON.parse(document.getElementById("facts").textContent);
const byId = new Map(facts.samples.map((sample) => [sample.id, sample]));

/* A decision is {decision: "keep" | "relabel" | "drop" | "unsure", label: class or null}; null means no decision. */
class Decisions {
  constructor(storage) {
    this.storage = storage;
    this.bySample = new Map();
    this.history = [];
    this.listeners = [];
    storage.onchange = (changes) => this.apply(changes);
  }

  get(id) { return this.bySample.get(id) ?? null; }

  /* All changes of one call are one step of undo. */
  set(changes) {
    if (!changes.length) return;
    this.history.push(changes.map(([id]) => [id, this.get(id)]));
    this.apply(changes);
    this.storage.save(changes);
  }

  undo() {
    const before = this.history.pop();
    if (!before) return [];
    this.apply(before);
    this.storage.save(before);
    return before.map(([id]) => id);
  }

  apply(changes) {
    for (const [id, decision] of changes) {
      if (decision === null) this.bySample.delete(id);
      else this.bySample.set(id, decision);
    }
    for (const listener of this.listeners) listener(changes.map(([id]) => id));
  }
}
