"""For FiftyOne: an image classification data set in its own layout, and a script that loads it with the findings.

`data/` has the images, `labels.json` the class names and given labels (`FiftyOneImageClassificationDataset`),
`scores.jsonl` a line a sample with what the audit found; `add_scores.py` loads all of it.
"""

import json
from dataclasses import asdict
from pathlib import Path

from gwaudit.core.files import write_folder
from gwaudit.core.safe_names import distinct_names, json_text
from gwaudit.export.findings import Handover

ADD_SCORES = '''"""Loads this folder into FiftyOne, with what gwaudit found in fields of each sample.

    python add_scores.py [NAME]

`given` and `suggested` are classifications; `mislabel_probability`, `mislabel_score`, `alignment`, `mislabel_rank` and
`category` sort and filter; `sample_id` and `key` say which sample of the data set it is. Suspects carry the tag
`suspect`: tag those that you checked, and export their `sample_id` for gwaudit.
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
    """The data set with its findings, persistent under this name."""
    dataset = fo.Dataset.from_dir(
        dataset_dir=str(folder),
        dataset_type=fo.types.FiftyOneImageClassificationDataset,
        label_field="given",
        name=name,
    )
    classes = json.loads((folder / "labels.json").read_text(encoding="utf-8"))["classes"]
    with (folder / "scores.jsonl").open(encoding="utf-8") as lines:
        found = {row["file"]: row for row in map(json.loads, lines)}
    rows = [found[Path(path).stem] for path in dataset.values("filepath")]
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
    print(f"Look at it: fiftyone app launch {dataset.name}")
'''


def write(handover: Handover, folder: Path) -> Path:
    """Write the folder, all samples in it, images as links unless copies are wanted.

    Raises:
        StoreExistsError: the folder exists.
        DataError: the data are not those that were audited, or an image can no longer be read.
        StoreError: it cannot be written.
    """
    return write_folder(folder, lambda target: _write(handover, target))


def _write(handover: Handover, target: Path) -> None:
    (target / "data").mkdir()
    (target / "add_scores.py").write_text(ADD_SCORES, encoding="utf-8")
    classes = json.dumps(distinct_names(handover.class_names, json_text))
    with (
        (target / "labels.json").open("w", encoding="utf-8") as labels,
        (target / "scores.jsonl").open("w", encoding="utf-8") as scores,
    ):
        labels.write(f'{{"classes": {classes},\n"labels": {{')
        for number, finding in enumerate(handover.findings()):
            file = f"{finding.sample_id:07d}"
            picture = handover.picture(finding.sample_id)
            picture.place(target / "data" / f"{file}{picture.suffix}", copy=handover.copy)
            labels.write(f'{"," if number else ""}\n"{file}": {finding.given}')
            row = {"file": file} | asdict(finding) | {"key": json_text(finding.key)}
            scores.write(json.dumps(row) + "\n")
        labels.write("}}\n")
