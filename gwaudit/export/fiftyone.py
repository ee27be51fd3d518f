"""Write an image classification data set in FiftyOne's layout, and a script that loads it with the findings.

`data/` holds the images, `labels.json` the class names and given labels (`FiftyOneImageClassificationDataset`), and
`scores.jsonl` one line per sample with its finding; `add_scores.py` loads all of them.
"""

import json
from dataclasses import asdict
from pathlib import Path

from gwaudit.core.files import write_folder
from gwaudit.core.json import to_json
from gwaudit.core.safe_names import distinct_names, json_text
from gwaudit.export.findings import Findings

ADD_SCORES = '''"""Load this folder into FiftyOne, with the findings of gwaudit as fields of each sample.

    python add_scores.py [NAME]

`given` and `suggested` are classifications; `mislabel_probability`, `mislabel_score`, `alignment`, `mislabel_rank` and
`category` are there to sort and filter; `sample_id` and `key` identify the sample. Suspects have the tag `suspect`: tag
the ones that you checked, and export their `sample_id` for gwaudit.
"""

import json
import sys
from pathlib import Path

import fiftyone as fo

FIELDS = {
    "mislabel_probability": "probability",
    "mislabel_score": "log_odds_wrong",
    "alignment": "alignment",
    "mislabel_rank": "rank",
    "category": "category",
    "sample_id": "sample_id",
    "key": "key",
}


def load(folder, name=None):
    """Return the data set with its findings, kept by FiftyOne under this name."""
    dataset = fo.Dataset.from_dir(
        dataset_dir=str(folder),
        dataset_type=fo.types.FiftyOneImageClassificationDataset,
        label_field="given",
        name=name,
    )
    classes = json.loads((folder / "labels.json").read_text(encoding="utf-8"))["classes"]
    with (folder / "scores.jsonl").open(encoding="utf-8") as lines:
        scores = {row["file"]: row for row in map(json.loads, lines)}
    rows = [scores[Path(path).stem] for path in dataset.values("filepath")]
    for field, column in FIELDS.items():
        dataset.set_values(field, [row[column] for row in rows])
    suggested = [row["suggested"] for row in rows]
    labels = [None if label is None else fo.Classification(label=classes[label]) for label in suggested]
    dataset.set_values("suggested", labels)
    dataset.set_values("tags", [["suspect"] if row["suspect"] else [] for row in rows])
    dataset.persistent = True
    return dataset


if __name__ == "__main__":
    dataset = load(Path(__file__).resolve().parent, *sys.argv[1:2])
    print(dataset)
    print(f"To look at it: fiftyone app launch {dataset.name}")
'''


def write(findings: Findings, folder: Path) -> Path:
    """Write the folder with all samples, images as links unless copies are asked for, and return the folder.

    Raises:
        StoreExistsError: the folder exists.
        DataError: the data are not those that were audited, or an image can no longer be read.
        StoreError: the folder cannot be written.
    """
    return write_folder(folder, lambda temporary: _write(findings, temporary))


def _write(findings: Findings, folder: Path) -> None:
    (folder / "data").mkdir()
    (folder / "add_scores.py").write_text(ADD_SCORES, encoding="utf-8")
    classes = json.dumps(distinct_names(findings.class_names, json_text))
    with (
        (folder / "labels.json").open("w", encoding="utf-8") as labels,
        (folder / "scores.jsonl").open("w", encoding="utf-8") as scores,
    ):
        labels.write(f'{{"classes": {classes},\n"labels": {{')
        for number, finding in enumerate(findings):
            file = f"{finding.sample_id:07d}"
            image = findings.image_file(finding.sample_id)
            image.save(folder / "data" / f"{file}{image.suffix}", copy=findings.original.copy)
            labels.write(f'{"," if number else ""}\n"{file}": {finding.given}')
            row = {"file": file} | asdict(finding) | {"key": json_text(finding.key)}
            scores.write(to_json(row, indent=None) + "\n")
        labels.write("}}\n")
