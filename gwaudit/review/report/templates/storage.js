/* Store the decisions: in this browser, or on the server of the page. */

/* Keep decisions in this browser, by the fingerprint of the data; several tabs share them. */
class BrowserStorage {
  constructor() {
    this.name = `gwaudit-decisions-${facts.fingerprint}`;
    this.onchange = () => {};
    this.onstate = () => {};
    this.lastRead = {};
    window.addEventListener("storage", (event) => {
      if (event.key === this.name || event.key === null) this.load();
    });
  }

  load() {
    const kept = this.read();
    const ids = new Set([...Object.keys(this.lastRead), ...Object.keys(kept)]);
    this.lastRead = kept;
    this.onchange([...ids].map((id) => [Number(id), kept[id] ?? null]));
  }

  save(changes) {
    const kept = this.read(); // another tab may have added decisions
    for (const [id, decision] of changes) {
      if (decision === null) delete kept[id];
      else kept[id] = decision;
    }
    this.lastRead = kept;
    try {
      localStorage.setItem(this.name, JSON.stringify(kept));
      this.onstate("kept in this browser", false);
    } catch {
      this.onstate("This browser cannot keep your decisions: download them before you close the page.", true);
    }
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

/* Keep decisions on the server, which returns the changes of other tabs; changes that it did not receive are sent again. */
class ServerStorage {
  constructor() {
    this.revision = 0;
    this.pending = new Map();
    this.sending = false;
    this.onchange = () => {};
    this.onstate = () => {};
    window.addEventListener("beforeunload", (event) => {
      if (this.pending.size) event.preventDefault();
    });
    window.addEventListener("focus", () => this.send());
    setInterval(() => this.send(), 3000);
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
        body: JSON.stringify({ since: this.revision, changes: [...sent] }),
      });
      if (!response.ok) throw new Error(await response.text());
      const answer = await response.json();
      this.revision = answer.revision;
      for (const [id, decision] of sent) if (this.pending.get(id) === decision) this.pending.delete(id);
      const received = answer.changes.filter(([id]) => !this.pending.has(id));
      if (received.length) this.onchange(received);
      if (!this.pending.size) this.onstate("saved", false);
    } catch (error) {
      const reason = error instanceof TypeError ? "gwaudit review does not answer. Start it again if it has stopped." : error.message;
      this.onstate(`${this.pending.size} decisions not saved yet: ${reason}`, true);
    }
    this.sending = false;
    if ([...this.pending.keys()].some((id) => !sent.has(id) || this.pending.get(id) !== sent.get(id))) this.send();
  }
}
