/* What a person decided: kept in this browser, or by the server that serves the page; undone; written as CSV. */

const facts = JSON.parse(document.getElementById("facts").textContent);
const byId = new Map(facts.samples.map((sample) => [sample.id, sample]));

/* A decision is {decision: "keep" | "relabel" | "drop" | "unsure", label: class or null}; null stands for none. */
class Decisions {
  constructor(storage) {
    this.storage = storage;
    this.made = new Map();
    this.history = [];
    this.listeners = [];
    storage.onchange = (changes) => this.take(changes);
  }

  get(id) { return this.made.get(id) ?? null; }

  /* One step for undo, however many samples. */
  set(changes) {
    if (!changes.length) return;
    this.history.push(changes.map(([id]) => [id, this.get(id)]));
    this.take(changes);
    this.storage.save(changes);
  }

  undo() {
    const before = this.history.pop();
    if (!before) return [];
    this.take(before);
    this.storage.save(before);
    return before.map(([id]) => id);
  }

  take(changes) {
    for (const [id, decision] of changes) {
      if (decision === null) this.made.delete(id);
      else this.made.set(id, decision);
    }
    for (const listener of this.listeners) listener(changes.map(([id]) => id));
  }

  /* Decisions on samples that this page does not show are kept, and written too. */
  toCsv() {
    const rows = [["sample_id", "key", "given_name", "decision", "label"]];
    for (const id of [...this.made.keys()].sort((a, b) => a - b)) {
      const { decision, label } = this.made.get(id);
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

  /* Rows that cannot be understood are counted, not guessed at: gwaudit apply tells what is wrong with each. */
  fromCsv(text) {
    const [header, ...rows] = parseCsv(text.replace(/^\ufeff/, ""));
    const at = (name) => (header ?? []).indexOf(name);
    const [idAt, decisionAt, labelAt] = [at("sample_id"), at("decision"), at("label")];
    if (idAt < 0 || decisionAt < 0 || labelAt < 0) return null;
    const changes = [];
    let unknown = 0;
    for (const row of rows) {
      const id = Number(row[idAt]);
      const label = facts.classes.indexOf(fromCell(row[labelAt] ?? ""));
      const decision = row[decisionAt];
      const known = ["keep", "drop", "unsure"].includes(decision) || (decision === "relabel" && label >= 0);
      if (row[idAt] === "" || !Number.isInteger(id) || !known) unknown += 1;
      else changes.push([id, { decision, label: decision === "relabel" ? label : null }]);
    }
    this.set(changes);
    return { taken: changes.length, unknown };
  }
}

/* Text that a spreadsheet would run as a formula gets an apostrophe in front, and loses it again. */
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

/* In this browser, under the data's fingerprint; several tabs add to the same. */
class BrowserStorage {
  constructor() {
    this.name = `gwaudit-decisions-${facts.fingerprint}`;
    this.onchange = () => {};
    this.onstate = () => {};
    this.known = {};
    window.addEventListener("storage", (event) => {
      if (event.key === this.name || event.key === null) this.load();
    });
  }

  load() {
    const kept = this.read();
    const ids = new Set([...Object.keys(this.known), ...Object.keys(kept)]);
    this.known = kept;
    this.onchange([...ids].map((id) => [Number(id), kept[id] ?? null]));
  }

  save(changes) {
    const kept = this.read(); // another tab may have added to it since
    for (const [id, decision] of changes) {
      if (decision === null) delete kept[id];
      else kept[id] = decision;
    }
    this.known = kept;
    try {
      localStorage.setItem(this.name, JSON.stringify(kept));
      this.onstate("kept in this browser", false);
    } catch {
      this.onstate("This browser keeps nothing: download your decisions before you close the page.", true);
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

/* By the server, which hands the changes of other tabs back; what it did not take yet is sent again. */
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
      const news = answer.changes.filter(([id]) => !this.pending.has(id));
      if (news.length) this.onchange(news);
      if (!this.pending.size) this.onstate("saved", false);
    } catch (error) {
      const reason = error instanceof TypeError ? "gwaudit review does not answer; is it still running?" : error.message;
      this.onstate(`${this.pending.size} decisions not saved yet: ${reason}`, true);
    }
    this.sending = false;
    if ([...this.pending.keys()].some((id) => !sent.has(id) || this.pending.get(id) !== sent.get(id))) this.send();
  }
}
