"""For CVAT: a zip in its format "CVAT for images 1.1", which is a task's images and their annotations at once.

`images/` has them named RANK-SAMPLE_ID, so that CVAT, which sorts by name, shows the most suspicious one first;
`annotations.xml` has a tag an image, of its given class, with attributes that say what the audit found; `labels.json`
is what CVAT's raw label editor takes. CVAT cuts class names to 64 characters and attributes to 4096; here they are cut
so that classes stay apart.
"""

import json
import shutil
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any
from xml.etree import ElementTree

from gwaudit.core.files import write_atomically
from gwaudit.core.safe_names import distinct_names, xml_text
from gwaudit.export.findings import Finding, Handover

LONGEST_NAME = 64
LONGEST_VALUE = 4096
DECISIONS = ("undecided", "keep", "drop", "unsure")
_TEXTS = ("given", "suggested", "probability", "rank", "category", "sample_id", "key")
_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest that zip has: the same audit gives the same bytes


def label_names(class_names: Sequence[str]) -> list[str]:
    """The classes' names as CVAT holds them: at most 64 characters, none blank at the ends, an empty one `_`."""
    return distinct_names(class_names, _label_name, longest=LONGEST_NAME)


def write(handover: Handover, path: Path) -> Path:
    """Write the zip.

    Raises:
        DataError: the data are not those that were audited, an image can no longer be read, or there is no sample.
        StoreError: it cannot be written.
    """
    write_atomically(path, lambda temporary: _write(handover, temporary))
    return path


def _label_name(name: str) -> str:
    text = xml_text(name).strip() or "_"
    return text if len(text) <= LONGEST_NAME else text[: LONGEST_NAME - 1].rstrip() + "…"


def _write(handover: Handover, path: Path) -> None:
    names = label_names(handover.class_names)
    with (
        zipfile.ZipFile(path, "w") as archive,
        tempfile.TemporaryFile("w+b") as xml,  # the images come first: their sizes are part of it
    ):
        archive.writestr(zipfile.ZipInfo("labels.json", _DATE), json.dumps(_labels(names), indent=1))
        xml.write(b'<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n')
        _append(xml, _element("version", "1.1"))
        _append(xml, _meta(names, len(handover.samples)))
        for number, finding in enumerate(handover.findings()):
            picture = handover.picture(finding.sample_id)
            name = f"{finding.rank:07d}-{finding.sample_id:07d}{picture.suffix}"
            with picture.open() as source, _member(archive, f"images/{name}") as target:
                shutil.copyfileobj(source, target)
            _append(xml, _image(number, name, picture.size, finding, names, handover.class_names))
        xml.write(b"</annotations>\n")
        xml.seek(0)
        with _member(archive, "annotations.xml", zipfile.ZIP_DEFLATED) as target:
            shutil.copyfileobj(xml, target)


def _member(archive: zipfile.ZipFile, name: str, compression: int = zipfile.ZIP_STORED) -> IO[bytes]:
    info = zipfile.ZipInfo(name, _DATE)
    info.compress_type = compression
    return archive.open(info, "w", force_zip64=True)


def _labels(names: Sequence[str]) -> list[dict[str, Any]]:
    """What CVAT's raw label editor takes."""
    texts = [
        {"name": name, "input_type": "text", "mutable": False, "values": [], "default_value": ""} for name in _TEXTS
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
    for facts in _labels(names):
        label = ElementTree.SubElement(labels, "label")
        label.append(_element("name", facts["name"]))
        label.append(_element("type", facts["type"]))
        attributes = ElementTree.SubElement(label, "attributes")
        for about in facts["attributes"]:
            attribute = ElementTree.SubElement(attributes, "attribute")
            attribute.append(_element("name", about["name"]))
            attribute.append(_element("mutable", str(about["mutable"])))
            attribute.append(_element("input_type", about["input_type"]))
            attribute.append(_element("default_value", about["default_value"]))
            attribute.append(_element("values", "\n".join(about["values"])))
    return meta


def _image(
    number: int, name: str, size: tuple[int, int], finding: Finding, names: Sequence[str], class_names: Sequence[str]
) -> ElementTree.Element:
    width, height = size
    image = ElementTree.Element("image", id=str(number), name=name, width=str(width), height=str(height))
    tag = ElementTree.SubElement(image, "tag", label=names[finding.given], source="manual")
    values = {
        "given": class_names[finding.given],
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
    # A parser takes a carriage return for a line feed; the library escapes it in attributes alone.
    text = ElementTree.tostring(element, encoding="unicode").replace("\r", "&#13;")
    file.write(text.encode() + b"\n")
