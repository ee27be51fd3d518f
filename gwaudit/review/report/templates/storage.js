/* Store the decisions: in this browser, or on the server of the page.

   `pending` holds what could not be stored yet; it is tried again every few seconds. `onstate` receives the number of these
   decisions and, where storing fails, the reason. */

const RETRY_AFTER = 3000; // milliseconds

/* Keep decisions in this browser, under a name of the data; several tabs share them. */
class BrowserStorage {
  constructor() {
    this.name = `gwaudit-decisions-${facts.storage_name}`;
    this.pending = new Map();
    this.onchange = () => {};
    this.onstate = () => {};
    this.lastRead = {};
    window.addEventListener("storage", (event) => {
      if (event.key === this.name || event.key === null) this.load();
    });
    setInterval(() => { if (this.pending.size) this.write(); }, RETRY_AFTER);
  }

  load() {
    const kept = this.read();
    const ids = new Set([...Object.keys(this.lastRead), ...Object.keys(kept)]);
    this.lastRead = kept;
    this.onchange([...ids].map((id) => [Number(id), kept[id] ?? null]).filter(([id]) => !this.pending.has(id)));
  }

  save(changes) {
    for (const [id, decision] of changes) this.pending.set(id, decision);
    this.write();
  }

  write() {
    const kept = this.read(); // another tab may have added decisions
    for (const [id, decision] of this.pending) {
      if (decision === null) delete kept[id];
      else kept[id] = decision;
    }
    try {
      localStorage.setItem(this.name, JSON.stringify(kept));
    } catch {
      this.onstate(this.pending.size, "this browser keeps nothing for this page.");
      return;
    }
    this.lastRead = kept;
    this.pending.clear();
    this.onstate(0, null);
  }

  read() {
    try {
      const kept = JSON.parse(localStorage.getItem(this.name) ?? "{}");
      return kept !== null && typeof kept === "object" ? kept : {};
    } catch {
      return {};
    }
  }
}

/* Keep decisions on the server, which returns the changes of other tabs. */
class ServerStorage {
  constructor() {
    this.revision = 0;
    this.pending = new Map();
    this.sending = false;
    this.learned = 0;
    this.onchange = () => {};
    this.onlearned = () => {};
    this.onstate = () => {};
    window.addEventListener("focus", () => this.send());
    setInterval(() => this.send(), RETRY_AFTER);
  }

  load() { this.send(); }

  save(changes) {
    for (const [id, decision] of changes) this.pending.set(id, decision);
    this.send();
  }

  async send() {
    if (this.sending) return;
    this.sending = true;
    const sent = new Map(this.pending);
    try {
      const response = await fetch("decisions", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ since: this.revision, changes: [...sent], learned: this.learned }),
      });
      if (response.status === 404) throw new Error("gwaudit review was started again: it now has another address.");
      if (!response.ok) throw new Error(await response.text());
      const answer = await response.json();
      this.revision = answer.revision;
      for (const [id, decision] of sent) if (this.pending.get(id) === decision) this.pending.delete(id);
      const received = answer.changes.filter(([id]) => !this.pending.has(id));
      if (received.length) this.onchange(received);
      if (answer.learned) {
        this.learned = answer.learned.revision;
        this.onlearned(answer.learned);
      }
      if (!this.pending.size) this.onstate(0, null);
    } catch (error) {
      const stopped = "gwaudit review does not answer. Start it again if it has stopped.";
      this.onstate(this.pending.size, error instanceof TypeError ? stopped : error.message);
    }
    this.sending = false;
    if ([...this.pending.keys()].some((id) => !sent.has(id) || this.pending.get(id) !== sent.get(id))) this.send();
  }
}
