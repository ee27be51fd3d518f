"""The loading benchmark measures every pipeline on the same photos, and keeps its rows."""

import time

import pytest
from PIL import Image

from gwaudit.benchmarks.loading import PIPELINES, LoadingRow, LoadingSettings, loading, make_photos
from gwaudit.benchmarks.results import read_results
from gwaudit.core.errors import SettingsError


@pytest.mark.slow
def test_every_pipeline_reads_all_photos_in_each_epoch(tmp_path):
    make_photos(tmp_path / "photos", 150)
    start = time.process_time()
    for path in (tmp_path / "photos").rglob("*.jpg"):
        Image.open(path).convert("RGB")
    decoding = time.process_time() - start
    settings = LoadingSettings(image_size=32, batch_size=8, epochs=2, workers=1, models=["none"])
    rows = loading(settings, tmp_path / "results", tmp_path / "photos")
    assert [row.pipeline for row in rows] == list(PIPELINES)
    for row in rows:
        assert row.images == 150
        assert 0 < row.first_step_seconds < row.total_seconds
        assert row.first_epoch_rate > 0
        assert row.later_rate > 0
        assert row.peak_mib > 50
    assert rows[0].processor_seconds > 2 * decoding  # that of the workers is counted
    assert read_results(tmp_path / "results" / "loading.json", LoadingRow) == rows
    assert (tmp_path / "results" / "loading.md").read_text().count("\n") == 5


@pytest.mark.parametrize("wrong", [{"images": 3}, {"epochs": 0}, {"workers": 0}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(SettingsError, match=f"`{next(iter(wrong))}`"):
        LoadingSettings(**wrong)
