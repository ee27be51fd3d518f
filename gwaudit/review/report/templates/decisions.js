/* Keep the decisions of a person; undo them; write and read them as CSV. */

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
