"""The report as one HTML file that needs nothing else: no network, no folder beside it."""

import base64
import gzip
import json
import secrets
import shlex
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from gwaudit.core.files import write_atomically
from gwaudit.review.report.contents import ReportContents
from gwaudit.review.report.figures import draw_figures

_SCRIPTS = ("decisions.js", "gallery.js", "figures.js")
_TABLE_ROWS = 40


def write_page(contents: ReportContents, path: Path | str) -> Path:
    """Write the report; the file is there whole or not at all.

    Raises:
        StoreError: it cannot be written.
    """
    path = Path(path)
    page = render_page(contents)
    write_atomically(path, lambda temporary: temporary.write_bytes(page))
    return path


def render_page(contents: ReportContents, *, served: bool = False) -> bytes:
    """The page, as UTF-8.

    Nothing that comes from the data is ever markup or code in it: templates escape, scripts set text, and a content
    security policy keeps the browser from running or loading what the page did not bring.

    Args:
        contents: what it says.
        served: decisions go to the address `decisions` beside the page's, not into the browser.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("gwaudit.review.report"), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["json"] = _json
    texts = files("gwaudit.review.report") / "templates"
    audit = contents.audit
    expected, suspects = audit.expected_wrong(), len(audit.suspects)
    decisions = str(audit.run / "decisions.csv") if served else "decisions.csv"
    page = environment.get_template("page.html.j2").render(
        contents=contents,
        audit=audit,
        name=audit.run.resolve().name,
        apply=shlex.join(["gwaudit", "apply", str(audit.run), decisions, "--output", "corrected"]),
        n=len(audit.frame),
        what="labels" if not audit.is_multi_label else "answers (does the sample have the class)",
        suspects=suspects,
        expected_suspects=float(expected[suspects]),
        expected_all=float(expected[-1]),
        shown=sum(sample["category"] == "suspect" for sample in contents.samples),
        classes=contents.health.head(_TABLE_ROWS).reset_index().to_dict("records"),
        pairs=contents.pairs.head(_TABLE_ROWS).to_dict("records"),
        labels={name: label for label, name in reversed(list(enumerate(audit.class_names)))},
        of_pairs=audit.is_multi_label,
        figures={name: json.loads(figure.to_json()) for name, figure in draw_figures(contents).items()},
        facts={
            "fingerprint": audit.fingerprint,
            "classes": list(audit.class_names),
            "multi_label": audit.is_multi_label,
            "answers": list(audit.answers),
            "modality": contents.modality,
            "samples": list(contents.samples),
            "prototypes": {str(label): list(samples) for label, samples in contents.prototypes.items()},
            "served": served,
        },
        served=served,
        nonce=secrets.token_urlsafe(16),
        style=Markup((texts / "report.css").read_text("utf-8")),
        script=Markup("\n".join((texts / name).read_text("utf-8") for name in _SCRIPTS)),
        plotly=base64.b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode(),
    )
    return page.encode("utf-8", "replace")


def _json(value: Any) -> Markup:
    """JSON that may stand in a script element: nothing in it can end the element or open a comment."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))  # ASCII, so lone surrogates survive too
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))
