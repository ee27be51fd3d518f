"""Suspects are shown beside their nearest neighbours, and nearly equal images with other labels are contradictions."""

import numpy as np
import pandas as pd
import pytest

from gwaudit.analysis.neighbours import near_contradictions
from gwaudit.core.settings import DataSettings
from gwaudit.data.loading import load_dataset
from gwaudit.data.reading_notes import Contradiction
from gwaudit.pipeline.results import write_results
from gwaudit.review.report import nearest
from gwaudit.review.report.contents import collect_report_data
from gwaudit.review.report.page import render_page, write_page
from gwaudit.store.latents import write_latents
from gwaudit.store.store import TrajectoryStore
from helpers.making import make_tree
from helpers.recorded_runs import ranked_run


@pytest.fixture
def audited(tmp_path):
    """An audit of four cats and four dogs, of which cat 1 and dog 2 are nearly equal, and cats 2 and 3."""
    make_tree(tmp_path / "tree", per_class=4)
    data = DataSettings(str(tmp_path / "tree"))
    audit, latents = ranked_run(tmp_path / "run", data), np.eye(8)
    latents[6, 1] = latents[3, 2] = 3
    write_latents(tmp_path / "run", latents, {"nearly_equal": [[1, 6], [2, 3]]})
    with TrajectoryStore.open(tmp_path / "run") as store:
        yield audit, store, load_dataset(tmp_path / "tree")


def test_each_suspect_has_its_neighbours_and_their_pictures(audited):
    audit, store, dataset = audited
    data = collect_report_data(audit, store, dataset)
    first = next(sample for sample in data.samples if sample["sample_id"] == 1)
    assert first["nearest"][0]["key"] == "dog/002.png"
    assert first["nearest"][0]["given"] == 1
    assert len(first["nearest"]) == nearest.NEIGHBOURS
    assert all("image" in data.neighbours[other["id"]] for other in first["nearest"])
    assert b"Nearest samples, with their given labels" in render_page(data)


def test_a_card_counts_the_labels_of_neighbours_and_cuts_no_long_list(audited, browser, tmp_path):
    page = write_page(collect_report_data(*audited), tmp_path / "report.html")
    browser.get(page.as_uri())
    text, clipped = browser.execute_script(
        """const others = ["English springer spaniel of the field line", "cassette player", "tench"];
        names.splice(0, 4, "a".repeat(50), ...others);
        const nearest = [0, 1, 2, 3, 1].map((given) => ({ given }));
        const list = labelList({ given: 0, suggested: 1, nearest });
        document.querySelector(".card").append(list);
        const row = list.querySelector("dd.whole");
        return [row.textContent, row.scrollHeight > row.clientHeight + 1];"""
    )
    assert text.startswith("2 English springer spaniel of the field line, 1 aaa")
    assert text.endswith("a, 1 cassette player, 1 tench")
    assert not clipped


def test_later_samples_have_none_so_that_the_page_stays_small(audited, monkeypatch):
    audit, store, dataset = audited
    monkeypatch.setattr(nearest, "_SAMPLES", 2)
    assert sum("nearest" in sample for sample in collect_report_data(audit, store, dataset).samples) == 2


def test_nearly_equal_images_with_different_labels_are_contradictions(audited):
    audit, store, dataset = audited
    found = [Contradiction(["cat/001.png", "dog/002.png"], ["cat", "dog"], nearly=True)]
    assert near_contradictions(store) == found
    assert near_contradictions(store, [Contradiction(["cat/001.png", "dog/002.png"], ["cat", "dog"])]) == []
    by_key = {sample["key"]: sample for sample in collect_report_data(audit, store, dataset).samples}
    assert by_key["cat/001.png"]["same_input"] == [{"key": "dog/002.png", "label": "dog"}]
    assert "same_input" not in by_key["cat/002.png"], "cats 2 and 3 have one label"
    result = write_results(audit, dataset, store)
    assert result.to_dict()["nearly_equal"] == 1
    table = pd.read_csv(audit.run / "contradictions.csv")
    assert table.to_numpy().tolist() == [
        [1, "cat/001.png", "cat", "nearly equal"],
        [1, "dog/002.png", "dog", "nearly equal"],
    ]
