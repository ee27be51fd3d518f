"""Write tasks for Label Studio, with the proposed labels as predictions, and the labelling configuration.

Images are embedded, so that an import needs nothing else; or they are copied beside the tasks, and Label Studio's local
files serve them. `data.sample_id` and `data.key` identify the sample of a task when its annotations are read again.
"""

import base64
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

from PIL import Image

from gwaudit import __version__
from gwaudit.core.errors import DataError
from gwaudit.core.files import write_folder
from gwaudit.core.json import to_json
from gwaudit.core.safe_names import choice_names, json_text
from gwaudit.data.image_files import ImageFile
from gwaudit.export.findings import Finding, Findings

LABEL = "label"
DECISION = "decision"
DECISIONS = ("keep", "drop", "unsure")
FILE_BYTES = 100 * 2**20
"""Size at which a file of tasks ends and another one begins: Label Studio takes uploads of up to 250 MB."""

_SHOWN_BY_BROWSERS = {"PNG": "image/png", "JPEG": "image/jpeg", "GIF": "image/gif", "WEBP": "image/webp"}
_EMBEDDED_BYTES = 256 * 2**10
_EMBEDDED_SIDE = 1024
_LISTED_CLASSES = 20  # more classes become a menu with a search


def write(findings: Findings, folder: Path) -> Path:
    """Write `tasks.json` (`tasks-2.json`, ... where it grows large), `config.xml` and `README.txt` into a new folder.

    Returns:
        The folder.

    Raises:
        StoreExistsError: the folder exists.
        DataError: the data are not those that were audited, an image can no longer be read, or there is no sample.
        StoreError: the folder cannot be written.
    """
    if findings.original.copy and findings.dataset.modality != "images":
        raise DataError(f"{findings.dataset.name} holds no images to copy: leave out `copy`")
    return write_folder(folder, lambda temporary: _write(findings, temporary, folder.resolve()))


def labelling_config(class_names: Sequence[str], shown: str) -> str:
    """Return the labelling configuration: the sample, the classes and a decision to choose.

    Args:
        class_names: C names.
        shown: Form of the sample: `image`, `text`, or `about`, a table of its features.
    """
    # Two columns that begin at the top: however high the picture is, the choices are beside it and not below it.
    view = ElementTree.Element("View", style="display: flex; gap: 1em; align-items: flex-start")
    sample = ElementTree.SubElement(view, "View", style="flex: 3 1 0; min-width: 0")
    answers = ElementTree.SubElement(view, "View", style="flex: 2 1 0; min-width: 16em")
    if shown == "image":
        ElementTree.SubElement(sample, "Image", name=shown, value="$image", zoom="true", zoomControl="true")
    elif shown == "text":
        ElementTree.SubElement(sample, "Text", name=shown, value="$text", valueType="text")
    ElementTree.SubElement(sample if shown == "about" else answers, "Table", name="about", value="$about")
    names = choice_names(class_names)
    ElementTree.SubElement(answers, "Header", value="The right label")
    layout = "select" if len(names) > _LISTED_CLASSES else "inline"
    label = ElementTree.SubElement(answers, "Choices", name=LABEL, toName=shown, choice="single", layout=layout)
    for name in names:
        ElementTree.SubElement(label, "Choice", value=name)
    ElementTree.SubElement(answers, "Header", value="Or decide: keep the given label, drop the sample, or unsure")
    decision = ElementTree.SubElement(answers, "Choices", name=DECISION, toName=shown, choice="single", layout="inline")
    for value in DECISIONS:
        ElementTree.SubElement(decision, "Choice", value=value)
    ElementTree.indent(view, " ")
    return ElementTree.tostring(view, encoding="unicode") + "\n"  # without a declaration, which some parsers refuse


def _write(findings: Findings, target: Path, folder: Path) -> None:
    dataset = findings.dataset
    shown = "text" if dataset.texts is not None else "image" if dataset.modality == "images" else "about"
    (target / "config.xml").write_text(labelling_config(findings.class_names, shown), encoding="utf-8")
    copied = findings.original.copy
    if copied:
        (target / "images").mkdir()
    (target / "README.txt").write_text(_readme(folder, copied), encoding="utf-8")
    choices = choice_names(findings.class_names)
    _write_tasks((_task(findings, finding, shown, choices, target, folder) for finding in findings), target)


def _write_tasks(tasks: Iterator[dict[str, Any]], target: Path) -> None:
    task = next(tasks, None)
    number = 1
    while task is not None:
        with (target / ("tasks.json" if number == 1 else f"tasks-{number}.json")).open("w", encoding="ascii") as file:
            file.write("[\n" + to_json(task, indent=None))
            while (task := next(tasks, None)) is not None and file.tell() < FILE_BYTES:
                file.write(",\n" + to_json(task, indent=None))
            file.write("\n]\n")
        number += 1


def _task(
    findings: Findings, finding: Finding, shown: str, choices: Sequence[str], target: Path, folder: Path
) -> dict[str, Any]:
    dataset = findings.dataset
    given = json_text(findings.class_names[finding.given])
    suggested = None if finding.suggested is None else json_text(findings.class_names[finding.suggested])
    data: dict[str, Any] = {
        "sample_id": finding.sample_id,
        "key": json_text(finding.key),
        "given_label": finding.given,
        "given_name": given,
        "suggested_label": finding.suggested,
        "suggested_name": suggested,
        "probability_wrong": finding.probability,
        "rank": finding.rank,
        "category": finding.category,
    }
    about: dict[str, Any] = {
        "key": data["key"],
        "given": given,
        "suggested": suggested or "",
        "probability of being wrong": "" if finding.probability is None else f"{finding.probability:.3f}",
        "rank": finding.rank,
    }
    if shown == "image":
        image = findings.image_file(finding.sample_id)
        copied = findings.original.copy
        data["image"] = _copied(image, finding.sample_id, target, folder) if copied else _embedded(image)
    elif dataset.texts is not None:
        data["text"] = json_text(dataset.texts[finding.sample_id])
    elif dataset.cells is not None:
        for name, column in zip(dataset.cells.column_names, dataset.cells.columns, strict=True):
            value = column[finding.sample_id].as_py()
            about[f"column {name}" if name in about else name] = "–" if value in (None, "") else json_text(str(value))
    else:
        values = dataset[finding.sample_id][0].tolist()
        about |= {f"feature {i}": value for i, value in enumerate(values)}
    data["about"] = about
    return {"data": data, "predictions": [_prediction(finding, shown, choices)]}


def _prediction(finding: Finding, shown: str, choices: Sequence[str]) -> dict[str, Any]:
    region = {
        "id": "gwaudit",
        "from_name": LABEL,
        "to_name": shown,
        "type": "choices",
        "value": {"choices": [choices[finding.proposed]]},
    }
    score = {} if finding.probability is None else {"score": finding.probability}
    return {"model_version": f"gwaudit {__version__}", **score, "result": [region]}


def _embedded(image_file: ImageFile) -> str:
    """Return an image as a data URI: unchanged where it is small and browsers show its format, else reduced."""
    kind = _SHOWN_BY_BROWSERS.get(image_file.format)
    if kind is not None and image_file.is_plain and image_file.n_bytes <= _EMBEDDED_BYTES:
        with image_file.open() as file:
            content = file.read()
    else:
        reduced = image_file.decode(_EMBEDDED_SIDE)
        reduced.thumbnail((_EMBEDDED_SIDE, _EMBEDDED_SIDE))
        kind, content = "image/jpeg", _encoded(reduced, "JPEG")
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _copied(image_file: ImageFile, sample_id: int, target: Path, folder: Path) -> str:
    """Copy an image beside the tasks, and return its address when Label Studio serves the folder above."""
    if image_file.format not in _SHOWN_BY_BROWSERS or not image_file.is_plain:
        converted = image_file.decode()
        image_file = ImageFile(_encoded(converted, "PNG"), "PNG", converted.size)
    name = f"images/{sample_id:07d}{image_file.suffix}"
    image_file.save(target / name, copy=True)
    return f"/data/local-files/?d={quote(f'{folder.name}/{name}')}"


def _encoded(image: Image.Image, format: str) -> bytes:
    content = io.BytesIO()
    image.save(content, format, quality=90)
    return content.getvalue()


def _readme(folder: Path, copied: bool) -> str:
    start = "label-studio start"
    storage = ""
    if copied:
        root = folder.parent
        start = f"""LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true \\
   LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT='{root}' label-studio start
   (the folder that holds this one; if you move them, change this path)"""
        storage = f"""
   Settings > Cloud Storage > Add Source Storage > Local files, with the absolute path
   {folder / "images"}
   Without it Label Studio does not serve the images. It need not be synced."""
    return f"""Suspects of gwaudit, for Label Studio.

1. Start Label Studio:
   {start}
2. Create a project; under Labeling Setup > Custom template > Code paste config.xml.{storage}
3. Import tasks.json (and tasks-2.json, ... where there are more files).
4. Settings > Annotation: switch on "Use predictions to prelabel tasks", and order tasks by prediction score,
   which is the probability that the given label is wrong.
5. For each task choose the right label, or decide: keep (the given label is right), drop, or unsure. A decision counts
   before a suggested label that is still chosen; beside any other label, keep and drop are refused.
6. Export as JSON: data.sample_id and data.key identify the sample of each task; gwaudit apply reads the file.
"""
