"""Write a zip file for CVAT in its format "CVAT for images 1.1": the images of a task and their annotations.

`images/` holds the images, named RANK-SAMPLE_ID: CVAT sorts by name, and shows the most suspicious one first.
`annotations.xml` holds one tag per image, of the given class, with the finding as attributes. `labels.json` is the text
for CVAT's raw label editor. CVAT cuts class names to 64 characters and attributes to 4096; here they are cut in a way
that keeps the classes distinct.
"""

import shutil
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any
from xml.etree import ElementTree

from gwaudit.core.files import write_atomically
from gwaudit.core.json import to_json
from gwaudit.core.safe_names import tag_names, xml_text
from gwaudit.export.findings import Finding, Findings

LONGEST_VALUE = 4096
DECISIONS = ("undecided", "keep", "drop", "unsure")
_TEXT_ATTRIBUTES = ("given", "tag", "suggested", "probability", "rank", "category", "sample_id", "key")
_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest date of zip files: the same audit gives the same bytes


def write(findings: Findings, path: Path) -> Path:
    """Write the zip file and return its path.

    Raises:
        DataError: the data are not those that were audited, an image can no longer be read, or there is no sample.
        StoreError: the file cannot be written.
    """
    write_atomically(path, lambda temporary: _write(findings, temporary))
    return path


def _write(findings: Findings, path: Path) -> None:
    names = tag_names(findings.class_names)
    with (
        zipfile.ZipFile(path, "w") as archive,
        tempfile.TemporaryFile("w+b") as xml,  # written after the images, whose sizes it holds
    ):
        archive.writestr(zipfile.ZipInfo("labels.json", _DATE), to_json(_labels(names)))
        xml.write(b'<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n')
        _append(xml, _element("version", "1.1"))
        _append(xml, _meta(names, len(findings.samples)))
        for number, finding in enumerate(findings):
            image = findings.image_file(finding.sample_id)
            name = f"{finding.rank:07d}-{finding.sample_id:07d}{image.suffix}"
            with image.open() as source, _member(archive, f"images/{name}") as target:
                shutil.copyfileobj(source, target)
            _append(xml, _image(number, name, image.size, finding, names, findings.class_names))
        xml.write(b"</annotations>\n")
        xml.seek(0)
        with _member(archive, "annotations.xml", zipfile.ZIP_DEFLATED) as target:
            shutil.copyfileobj(xml, target)


def _member(archive: zipfile.ZipFile, name: str, compression: int = zipfile.ZIP_STORED) -> IO[bytes]:
    info = zipfile.ZipInfo(name, _DATE)
    info.compress_type = compression
    return archive.open(info, "w", force_zip64=True)


def _labels(names: Sequence[str]) -> list[dict[str, Any]]:
    """Return the labels of the task, as CVAT's raw label editor takes them."""
    texts = [
        {"name": name, "input_type": "text", "mutable": False, "values": [], "default_value": ""}
        for name in _TEXT_ATTRIBUTES
    ]
    decision = {
        "name": "decision",
        "input_type": "select",
        "mutable": False,
        "values": list(DECISIONS),
        "default_value": DECISIONS[0],
    }
    return [{"name": name, "type": "tag", "attributes": [*texts, decision]} for name in names]


def _meta(names: Sequence[str], size: int) -> ElementTree.Element:
    meta = ElementTree.Element("meta")
    task = ElementTree.SubElement(meta, "task")
    task.append(_element("name", "gwaudit"))
    task.append(_element("size", str(size)))
    task.append(_element("mode", "annotation"))
    task.append(_element("overlap", "0"))
    labels = ElementTree.SubElement(task, "labels")
    for label_settings in _labels(names):
        label = ElementTree.SubElement(labels, "label")
        label.append(_element("name", label_settings["name"]))
        label.append(_element("type", label_settings["type"]))
        attributes = ElementTree.SubElement(label, "attributes")
        for settings in label_settings["attributes"]:
            attribute = ElementTree.SubElement(attributes, "attribute")
            attribute.append(_element("name", settings["name"]))
            attribute.append(_element("mutable", str(settings["mutable"])))
            attribute.append(_element("input_type", settings["input_type"]))
            attribute.append(_element("default_value", settings["default_value"]))
            attribute.append(_element("values", "\n".join(settings["values"])))
    return meta


def _image(
    number: int, name: str, size: tuple[int, int], finding: Finding, names: Sequence[str], class_names: Sequence[str]
) -> ElementTree.Element:
    width, height = size
    image = ElementTree.Element("image", id=str(number), name=name, width=str(width), height=str(height))
    tag = ElementTree.SubElement(image, "tag", label=names[finding.given], source="manual")
    values = {
        "given": class_names[finding.given],
        "tag": names[finding.given],  # the tags of people are compared with it on the way back
        "suggested": "" if finding.suggested is None else class_names[finding.suggested],
        "probability": "" if finding.probability is None else f"{finding.probability:.4f}",
        "rank": str(finding.rank),
        "category": finding.category,
        "sample_id": str(finding.sample_id),
        "key": finding.key,
        "decision": DECISIONS[0],
    }
    for attribute, value in values.items():
        tag.append(_element("attribute", _cut(xml_text(value)), name=attribute))
    return image


def _cut(value: str) -> str:
    return value if len(value) <= LONGEST_VALUE else value[: LONGEST_VALUE - 1] + "…"


def _element(tag: str, text: str, **attributes: str) -> ElementTree.Element:
    element = ElementTree.Element(tag, attributes)
    element.text = text
    return element


def _append(file: IO[bytes], element: ElementTree.Element) -> None:
    # A parser reads a carriage return as a line feed; the library escapes it in XML attributes only.
    text = ElementTree.tostring(element, encoding="unicode").replace("\r", "&#13;")
    file.write(text.encode() + b"\n")
