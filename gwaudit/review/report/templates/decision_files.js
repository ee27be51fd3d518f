/* Write decisions as a CSV file, and read such a file: only the rows that fit this run. */

const CSV_COLUMNS = ["sample_id", "key", ...(facts.multi_label ? ["class_name"] : []), "given_name", "decision", "label", "data_fingerprint"];
const FINGERPRINT = facts.fingerprint ? `data-${facts.fingerprint}` : ""; // letters in front: a spreadsheet makes no number of it

/* Decisions on samples that are not on this page are written too. */
function decisionsAsCsv() {
  const rows = [CSV_COLUMNS];
  for (const id of [...decisions.bySample.keys()].sort((a, b) => a - b)) {
    const { decision, label } = decisions.get(id);
    const sample = byId.get(id);
    const classes = facts.classes.length;
    rows.push([
      facts.multi_label ? Math.floor(id / classes) : id,
      sample ? sample.key : "",
      ...(facts.multi_label ? [facts.classes[id % classes]] : []),
      sample ? names[sample.given] : "",
      decision,
      decision === "relabel" ? names[label] : "",
      FINGERPRINT,
    ]);
  }
  return "\ufeff" + rows.map((row) => row.map(csvCell).join(",") + "\n").join("");
}

/* Return the changes that a file asks for, and what is to be said about it.

   A file of other data is refused as a whole: it has another fingerprint and rows that do not fit, or most of its rows do
   not fit. Single rows that do not fit (an id, a key or a given label of another sample) are left out and counted. */
function readDecisions(text) {
  const { header, rows } = csvTable(text.replace(/^\ufeff/, ""));
  const missing = ["sample_id", "decision", "label", ...(facts.multi_label ? ["class_name"] : [])].filter((name) => !header.includes(name));
  if (missing.length) return refused(`This is no file of decisions: it has no column ${missing.join(", ")}.`);
  const changes = [], reasons = new Map(), prints = new Set();
  let checked = 0, contradicted = 0;
  rows.forEach((cells, i) => {
    if (cells.every((cell) => cell.trim() === "")) return;
    const row = Object.fromEntries(header.map((name, column) => [name, cells[column] ?? ""]));
    if (row.data_fingerprint) prints.add(row.data_fingerprint.trim());
    const { change, reason, contradicts } = readRow(row, (cell) => text.includes(csvCell(cell)));
    checked += 1;
    if (contradicts) contradicted += 1;
    if (change) changes.push(change);
    else reasons.set(reason, [...(reasons.get(reason) ?? []), i + 2]); // as spreadsheets count, the header is row 1
  });
  if (!checked) return refused("The file holds no decision.");
  const otherData = FINGERPRINT && [...prints].some((print) => print !== FINGERPRINT);
  const unfit = [...reasons].map(([reason, at]) => `${counted(at.length, "row")} (${at.length > 3 ? `first row ${at[0]}` : `row ${at.join(", ")}`}): ${reason}.`);
  if (contradicted > checked / 2 || (otherData && changes.length < checked)) {
    const why = contradicted ? `: ${contradicted.toLocaleString("en")} of its ${counted(checked, "row")} name a key or a given label that this run does not have at this sample` : "";
    return refused(`This file is about other data than this run${otherData ? ", by its fingerprint" : ""}${why}. Nothing was loaded.`);
  }
  const replaced = changes.filter(([id, decision]) => !sameDecision(decisions.get(id) ?? decision, decision)).length;
  const summary = [
    `${changes.length.toLocaleString("en")} of ${counted(checked, "decision")} loaded.`,
    replaced ? `${replaced.toLocaleString("en")} of them replaced another decision; Undo takes that back.` : "",
    otherData ? "The file was made with another state of the data; the keys and given labels of its rows fit." : "",
    ...(unfit.length ? ["Not loaded:", ...unfit] : []),
  ];
  return { changes, text: summary.filter(Boolean).join(" "), complete: !unfit.length && !otherData };
}

const refused = (text) => ({ changes: [], text, complete: false });
const sameDecision = (one, other) => one.decision === other.decision && one.label === other.label;

/* Return the change that a row asks for, or the reason why there is none and whether the row contradicts this run.

   `quoted` says whether a cell is in quotes: spreadsheets write a class that they took for a number without quotes. */
function readRow(row, quoted) {
  const sampleId = Number(row.sample_id);
  const ours = FINGERPRINT !== "" && (row.data_fingerprint ?? "").trim() === FINGERPRINT;
  if (row.sample_id.trim() === "" || !Number.isInteger(sampleId) || sampleId < 0) return { reason: "no whole number as sample_id" };
  const ofRow = facts.multi_label ? classOf(row.class_name ?? "") : 0;
  if (ofRow < 0) return { reason: "an unknown class_name" };
  const id = facts.multi_label ? sampleId * facts.classes.length + ofRow : sampleId;
  const sample = byId.get(id);
  if (!sample && !ours) return { reason: "a sample that is not on this page, so that its key cannot be checked; gwaudit apply checks it" };
  if (sample) {
    const key = row.key ?? "", given = row.given_name ?? "";
    if (key.trim() === "" && sample.key.trim() !== "" && !ours) return { reason: "no key" };
    if (key !== "" && !sameText(key, sample.key)) return { reason: "the key is another sample's", contradicts: true };
    if (given.trim() !== "" && !sameText(given, names[sample.given])) return { reason: "the given label is another one in this run", contradicts: true };
  }
  const decision = row.decision.trim().toLowerCase();
  const label = names.findIndex((name) => name === fromCell(row.label));
  if (["keep", "drop", "unsure"].includes(decision)) return { change: [id, { decision, label: null }] };
  if (decision !== "relabel") return { reason: decision ? "an unknown decision" : "no decision" };
  if (facts.multi_label && row.label.trim() === "") { // there is only one other label
    const given = sample ? sample.given : names.findIndex((name) => sameText(row.given_name ?? "", name));
    return given < 0 ? { reason: "a label to change, and no given_name" } : { change: [id, { decision, label: 1 - given }] };
  }
  if (label < 0) return { reason: facts.multi_label ? "a label that is neither absent nor present" : "an unknown class" };
  const sameNumber = names.filter((name) => name.trim() !== "" && Number(name) === Number(row.label));
  if (sameNumber.length > 1 && !quoted(row.label)) return { reason: `a class that may be ${sameNumber.join(" or ")}, as spreadsheets change numbers` };
  return { change: [id, sample ? relabelled(sample, label) : { decision, label }] };
}

/* The class that a cell names; -1 where it is none, or may be several after changes that spreadsheets make. */
function classOf(cell) {
  const exact = facts.classes.indexOf(fromCell(cell));
  const like = exact >= 0 ? [exact] : facts.classes.flatMap((name, label) => (sameText(cell, name) ? [label] : []));
  return like.length === 1 ? like[0] : -1;
}

/* Whether a cell holds a text, but for changes that spreadsheets make: white space, case, accents, zeros in front. */
function sameText(cell, text) {
  const plain = (value) => value.normalize("NFC").trim().split(/\s+/).join(" ").toLowerCase().replace(/^0+(?=\d+$)/, "");
  return [cell, fromCell(cell)].some((value) => value === text || plain(value) === plain(text));
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

/* Read a table under the separator that gives its header most of our columns. */
function csvTable(text) {
  const tables = [",", ";", "\t"].map((separator) => {
    const [first = [], ...rows] = parseCsv(text, separator);
    return { header: first.map((name) => name.trim().toLowerCase()), rows };
  });
  const known = ({ header }) => header.filter((name) => CSV_COLUMNS.includes(name)).length;
  return tables.reduce((best, table) => (known(table) > known(best) ? table : best));
}

function parseCsv(text, separator) {
  const rows = [];
  let row = [], cell = "", quoted = false;
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (quoted && c === '"' && text[i + 1] === '"') { cell += '"'; i++; }
    else if (c === '"') quoted = !quoted;
    else if (c === separator && !quoted) { row.push(cell); cell = ""; }
    else if (c === "\n" && !quoted) { row.push(cell.replace(/\r$/, "")); rows.push(row); row = []; cell = ""; }
    else cell += c;
  }
  if (cell || row.length) rows.push([...row, cell]);
  return rows;
}
