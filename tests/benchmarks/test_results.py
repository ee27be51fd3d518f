"""The results that are committed beside the documentation are read."""

import pytest

from gwaudit.benchmarks.detection.benchmark import read_rows as read_detection
from gwaudit.benchmarks.relabelling import read_rows as read_relabelling
from gwaudit.benchmarks.stopping.benchmark import read_measurements
from gwaudit.benchmarks.trust.rows import read_rows as read_trust
from gwaudit.benchmarks.trust.stability import read_stability
from helpers.pages import ROOT

READERS = {
    "detection": read_detection,
    "relabelling": read_relabelling,
    "stability": read_stability,
    "stopping": read_measurements,
    "trust": read_trust,
}
FILES = sorted((ROOT / "docs" / "benchmarks" / "results").glob("*/*/*.json"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_committed_results_are_read(file):
    assert len(READERS[file.stem](file.parent)) > 1 or "overfitting" in file.parent.name


def test_every_benchmark_with_pages_has_committed_results():
    assert {file.stem for file in FILES} == set(READERS)
