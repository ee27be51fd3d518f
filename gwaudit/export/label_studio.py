"""For Label Studio: tasks with what the audit suggests as predictions, and the labelling configuration.

Images are embedded, so that an import needs nothing else; or, copied, they lie beside the tasks and are served by Label
Studio's local files. `data.sample_id` and `data.key` say which sample a task is, when its annotations come back.
"""

import base64
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

from PIL import Image, ImageOps

from gwaudit import __version__
from gwaudit.core.errors import DataError
from gwaudit.core.files import write_folder
from gwaudit.core.safe_names import choice_names, json_text
from gwaudit.data.image_files import ImageFile
from gwaudit.export.findings import Finding, Handover

LABEL = "label"
DECISION = "decision"
DECISIONS = ("keep", "drop", "unsure")
FILE_BYTES = 100 * 2**20
"""A file of tasks ends here, and another one begins: Label Studio takes uploads of up to 250 MB."""

_SHOWN_BY_BROWSERS = {"PNG": "image/png", "JPEG": "image/jpeg", "GIF": "image/gif", "WEBP": "image/webp"}
_EMBEDDED_BYTES = 256 * 2**10
_EMBEDDED_SIDE = 1024
_LISTED_CLASSES = 20  # more are a menu with a search


def write(handover: Handover, folder: Path) -> Path:
    """Write `tasks.json` (and `tasks-2.json` on, where they grow large), `config.xml` and a `README.txt`.

    Raises:
        StoreExistsError: the folder exists.
        DataError: the data are not those that were audited, an image can no longer be read, or there is no sample.
        StoreError: it cannot be written.
    """
    if handover.copy and handover.dataset.modality != "images":
        raise DataError(f"{handover.dataset.name} holds no images to copy: leave out --copy")
    return write_folder(folder, lambda target: _write(handover, target, folder.resolve()))


def labelling_config(class_names: Sequence[str], shown: str) -> str:
    """The labelling configuration: what is shown (`image`, `text` or `about`), the classes, and a decision."""
    view = ElementTree.Element("View")
    if shown == "image":
        ElementTree.SubElement(view, "Image", name=shown, value="$image", zoom="true", zoomControl="true")
    elif shown == "text":
        ElementTree.SubElement(view, "Text", name=shown, value="$text", valueType="text")
    ElementTree.SubElement(view, "Table", name="about", value="$about")
    names = choice_names(class_names)
    ElementTree.SubElement(view, "Header", value="The right label")
    layout = "select" if len(names) > _LISTED_CLASSES else "inline"
    label = ElementTree.SubElement(view, "Choices", name=LABEL, toName=shown, choice="single", layout=layout)
    for name in names:
        ElementTree.SubElement(label, "Choice", value=name)
    ElementTree.SubElement(view, "Header", value="Or, with no label chosen, what to do with the sample")
    decision = ElementTree.SubElement(view, "Choices", name=DECISION, toName=shown, choice="single", layout="inline")
    for value in DECISIONS:
        ElementTree.SubElement(decision, "Choice", value=value)
    ElementTree.indent(view, " ")
    return ElementTree.tostring(view, encoding="unicode") + "\n"  # without a declaration, which some parsers refuse


def _write(handover: Handover, target: Path, folder: Path) -> None:
    dataset = handover.dataset
    shown = "text" if dataset.texts is not None else "image" if dataset.modality == "images" else "about"
    (target / "config.xml").write_text(labelling_config(handover.class_names, shown), encoding="utf-8")
    local = handover.copy
    if local:
        (target / "images").mkdir()
    (target / "README.txt").write_text(_readme(folder, local), encoding="utf-8")
    names = choice_names(handover.class_names)
    tasks = (_task(handover, finding, shown, names, target, folder) for finding in handover.findings())
    _write_tasks(tasks, target)


def _write_tasks(tasks: Iterator[dict[str, Any]], target: Path) -> None:
    task = next(tasks, None)
    number = 1
    while task is not None:
        with (target / ("tasks.json" if number == 1 else f"tasks-{number}.json")).open("w", encoding="ascii") as file:
            file.write("[\n" + json.dumps(task))
            while (task := next(tasks, None)) is not None and file.tell() < FILE_BYTES:
                file.write(",\n" + json.dumps(task))
            file.write("\n]\n")
        number += 1


def _task(
    handover: Handover, finding: Finding, shown: str, names: Sequence[str], target: Path, folder: Path
) -> dict[str, Any]:
    dataset = handover.dataset
    given = json_text(handover.class_names[finding.given])
    suggested = None if finding.suggested is None else json_text(handover.class_names[finding.suggested])
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
        picture = handover.picture(finding.sample_id)
        data["image"] = _copied(picture, finding.sample_id, target, folder) if handover.copy else _embedded(picture)
    elif dataset.texts is not None:
        data["text"] = json_text(dataset.texts[finding.sample_id])
    else:
        values = dataset[finding.sample_id][0].tolist()
        about |= {f"feature {i}": value for i, value in enumerate(values)}
    data["about"] = about
    return {"data": data, "predictions": [_prediction(finding, shown, names)]}


def _prediction(finding: Finding, shown: str, names: Sequence[str]) -> dict[str, Any]:
    region = {
        "id": "gwaudit",
        "from_name": LABEL,
        "to_name": shown,
        "type": "choices",
        "value": {"choices": [names[finding.predicted]]},
    }
    score = {} if finding.probability is None else {"score": finding.probability}
    return {"model_version": f"gwaudit {__version__}", **score, "result": [region]}


def _embedded(picture: ImageFile) -> str:
    """A picture as a data URI: as it is where browsers show it and it is small, else reduced."""
    kind = _SHOWN_BY_BROWSERS.get(picture.format)
    with picture.open() as file:
        if kind is not None and picture.n_bytes <= _EMBEDDED_BYTES:
            content = file.read()
        else:
            with Image.open(file) as image:
                image.draft("RGB", (_EMBEDDED_SIDE, _EMBEDDED_SIDE))
                reduced = ImageOps.exif_transpose(image).convert("RGB")
            reduced.thumbnail((_EMBEDDED_SIDE, _EMBEDDED_SIDE))
            kind, content = "image/jpeg", _encoded(reduced, "JPEG")
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _copied(picture: ImageFile, sample_id: int, target: Path, folder: Path) -> str:
    """A picture as a file beside the tasks, and its address when Label Studio serves the folder above."""
    if picture.format not in _SHOWN_BY_BROWSERS:
        with picture.open() as file, Image.open(file) as image:
            whole = ImageOps.exif_transpose(image).convert("RGB")
        picture = ImageFile(_encoded(whole, "PNG"), "PNG", whole.size)
    name = f"images/{sample_id:07d}{picture.suffix}"
    picture.place(target / name, copy=True)
    return f"/data/local-files/?d={quote(f'{folder.name}/{name}')}"


def _encoded(image: Image.Image, format: str) -> bytes:
    content = io.BytesIO()
    image.save(content, format, quality=90)
    return content.getvalue()


def _readme(folder: Path, local: bool) -> str:
    start = "label-studio start"
    storage = ""
    if local:
        root = folder.parent
        start = f"""LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true \\
   LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT='{root}' label-studio start
   (the folder above this one; move both together, or name the new place)"""
        storage = f"""
   Settings > Cloud Storage > Add Source Storage > Local files, with the absolute path
   {folder / "images"}
   Without it Label Studio does not serve the images. It need not be synced."""
    return f"""What gwaudit suspects, for Label Studio.

1. Start Label Studio:
   {start}
2. Create a project; under Labeling Setup > Custom template > Code paste config.xml.{storage}
3. Import tasks.json (and tasks-2.json on, where there are more).
4. Settings > Annotation: switch on "Use predictions to prelabel tasks", and order tasks by prediction score,
   which is the probability that the given label is wrong.
5. For each task choose the right label; or unselect it and decide: keep (the given label is right), drop, unsure.
6. Export as JSON: data.sample_id and data.key say which sample a task is.
"""
