"""Render the report as one HTML file that needs nothing else: no network, no other files."""

import base64
import gzip
import hashlib
import json
import re
import secrets
import shlex
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape
from plotly.offline import get_plotlyjs

from gwaudit.analysis.audit import Audit
from gwaudit.analysis.guidelines import guideline_questions
from gwaudit.core.files import write_atomically
from gwaudit.core.json import without_nan
from gwaudit.core.shown_paths import with_urls
from gwaudit.review.learning import sentences
from gwaudit.review.report.contents import TO_DECIDE, ReportData
from gwaudit.review.report.figures import draw_figures

_SCRIPTS = (
    "decisions.js",
    "storage.js",
    "decision_files.js",
    "gallery.js",
    "deciding.js",
    "close_view.js",
    "learning.js",
    "start.js",
    "figures.js",
)
"""Scripts of the page, in the order in which they run."""
_DIGESTED_ROWS = 2**16
_TABLE_ROWS = 40


def write_page(data: ReportData, path: Path | str) -> Path:
    """Write the report, complete or not at all, and return its path.

    Raises:
        StoreError: the file cannot be written.
    """
    path = Path(path)
    page = render_page(data)
    write_atomically(path, lambda temporary: temporary.write_bytes(page))
    return path


def render_page(data: ReportData, *, served: bool = False) -> bytes:
    """Return the page, encoded as UTF-8.

    Texts of the data never become markup or code: the template escapes them, the scripts set them as text, and a
    content security policy keeps the browser from running or loading anything that is not part of the page.

    Args:
        data: Data of the report.
        served: Whether decisions are sent to the server, at the address `decisions` beside the page, instead of being
            kept in the browser.
    """
    placeholder = secrets.token_urlsafe(16)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("gwaudit.review.report"), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["json"], environment.filters["code"] = _json, _with_code
    templates = files("gwaudit.review.report") / "templates"
    page = environment.get_template("page.html.j2").render(
        **_summary(data, served=served),
        data=data,
        figures={name: json.loads(figure.to_json()) for name, figure in draw_figures(data).items()},
        facts=_facts(data, served=served),
        nonce=placeholder,
        style=Markup((templates / "report.css").read_text("utf-8")),
        script=Markup("\n".join((templates / name).read_text("utf-8") for name in _SCRIPTS)),
        plotly=_packed_plotly(),
    )
    # The checksum of all else: no text of the data can hold it, and equal reports are equal files.
    nonce = hashlib.sha256(page.replace(placeholder, "").encode("utf-8", "replace")).hexdigest()[:32]
    return page.replace(placeholder, nonce).encode("utf-8", "replace")


@cache  # half a second, and the same in every report
def _packed_plotly() -> str:
    """Return the script of plotly, compressed, in base64."""
    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode()


def _summary(data: ReportData, *, served: bool) -> dict[str, Any]:
    """Return the values that the template itself prints."""
    audit = data.audit
    left = audit.is_undecided
    n_suspects = int((left & audit.column("suspect")).sum())
    run = with_urls(str(audit.run))
    decisions = str(audit.run / "decisions.csv") if served else "decisions.csv"
    return {
        "name": audit.run.resolve().name,
        "apply_command": shlex.join(["gwaudit", "apply", run, decisions, "--output", "corrected"]),
        "status_command": shlex.join(["gwaudit", "status", run]),
        "served": served,
        "multi_label": audit.is_multi_label,
        "blind": any(sample["category"] == TO_DECIDE for sample in data.samples),
        "n_suspects": n_suspects,
        "verdict": audit.verdict,
        "headline": audit.headline,
        "has_cut": audit.has_cut,
        "may_clean": audit.may_clean,
        "has_probabilities": audit.has_probabilities,
        "sentences": sentences(audit, data.decided),
        "questions": guideline_questions(audit),
        "n_shown": sum(sample["category"] == "suspect" for sample in data.samples),
        "contradictory": sum("same_input" in sample for sample in data.samples),
        "classes": data.class_health.head(_TABLE_ROWS).reset_index().to_dict("records"),
        "confusions": data.confusions.head(_TABLE_ROWS).to_dict("records"),
        "label_of": {name: label for label, name in reversed(list(enumerate(audit.class_names)))},
    }


def _facts(data: ReportData, *, served: bool) -> dict[str, Any]:
    """Return the values that the scripts of the page read."""
    audit = data.audit
    return {
        "fingerprint": audit.fingerprint,
        "storage_name": audit.fingerprint or _digest_of_samples(audit),
        "classes": list(audit.class_names),
        "multi_label": audit.is_multi_label,
        "answers": list(audit.answers),
        "modality": data.modality,
        "samples": list(data.samples),
        "prototypes": {str(label): list(samples) for label, samples in data.prototypes.items()},
        "neighbours": {str(sample_id): sample for sample_id, sample in data.neighbours.items()},
        "served": served,
        "large_pictures": served and data.large_picture is not None,
    }


def _digest_of_samples(audit: Audit) -> str:
    """Return a digest of keys, given labels and classes, for runs without a fingerprint of their data."""
    keys, given = audit.table.texts("key", audit.rows + 1), audit.by_id("given_label")
    digest = hashlib.blake2b(digest_size=8)  # of [keys, labels, classes] as JSON, which is not made at once
    values: dict[str, Callable[[slice], list[Any]]] = {
        "[[": lambda rows: keys[rows].to_pylist(),
        "], [": lambda rows: given[rows].tolist(),
    }
    for opening, of_rows in values.items():
        for start in range(0, len(given), _DIGESTED_ROWS):
            part = json.dumps(of_rows(slice(start, start + _DIGESTED_ROWS)))[1:-1]
            digest.update(f"{', ' if start else opening}{part}".encode())
    digest.update(f"], {json.dumps(list(audit.class_names))}]".encode())
    return digest.hexdigest()


def _with_code(text: str) -> Markup:
    """Return a note as markup: names in backticks, as messages of the library have them, as code."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def _json(value: Any) -> Markup:
    """Return JSON for a script element: nothing in it can end the element or open a comment."""
    text = json.dumps(without_nan(value), separators=(",", ":"))  # ASCII, which keeps lone surrogates
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))
