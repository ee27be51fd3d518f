/* Keep the decisions of a person: in this browser, or on the server of the page. Undo them; write and read them as CSV. */

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

  /* Decisions on samples that are not on this page are written too. */
  toCsv() {
    const rows = [["sample_id", "key", "given_name", "decision", "label"]];
    for (const id of [...this.bySample.keys()].sort((a, b) => a - b)) {
      const { decision, label } = this.bySample.get(id);
      const sample = byId.get(id);
      rows.push([
        id,
        sample ? sample.key : "",
        sample ? facts.classes[sample.given] : "",
        decision,
        decision === "relabel" ? facts.classes[label] : "",
      ]);
    }
    return "\ufeff" + rows.map((row) => row.map(csvCell).join(",") + "\n").join("");
  }

  /* Rows that cannot be understood are counted and left out; gwaudit apply prints what is wrong with each of them. */
  fromCsv(text) {
    const [header, ...rows] = parseCsv(text.replace(/^\ufeff/, ""));
    const columnOf = (name) => (header ?? []).indexOf(name);
    const [idColumn, decisionColumn, labelColumn] = ["sample_id", "decision", "label"].map(columnOf);
    if (idColumn < 0 || decisionColumn < 0 || labelColumn < 0) return null;
    const changes = [];
    let skipped = 0;
    for (const row of rows) {
      const id = Number(row[idColumn]);
      const label = facts.classes.indexOf(fromCell(row[labelColumn] ?? ""));
      const decision = row[decisionColumn];
      const valid = ["keep", "drop", "unsure"].includes(decision) || (decision === "relabel" && label >= 0);
      if (row[idColumn] === "" || !Number.isInteger(id) || !valid) skipped += 1;
      else changes.push([id, { decision, label: decision === "relabel" ? label : null }]);
    }
    this.set(changes);
    return { loaded: changes.length, skipped };
  }
}

/* A text that a spreadsheet would run as a formula is written with an apostrophe in front, and read without it. */
const formula = /^'*[=+\-@\t\r\n]/;

function csvCell(value) {
  if (typeof value === "number") return String(value);
  const text = formula.test(value) ? `'${value}` : value;
  return `"${text.replaceAll('"', '""')}"`;
}

function fromCell(cell) {
  return cell.startsWith("'") && formula.test(cell) ? cell.slice(1) : cell;
}

function parseCsv(text) {
  const rows = [];
  let row = [], cell = "", quoted = false;
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (quoted && c === '"' && text[i + 1] === '"') { cell += '"'; i++; }
    else if (c === '"') quoted = !quoted;
    else if (c === "," && !quoted) { row.push(cell); cell = ""; }
    else if (c === "\n" && !quoted) { row.push(cell.replace(/\r$/, "")); rows.push(row); row = []; cell = ""; }
    else cell += c;
  }
  if (cell || row.length) rows.push([...row, cell]);
  return rows;
}

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
