"""A ranking in a file, sorted block by block: the same rows, bit for bit, as one in memory."""

import json
from dataclasses import replace
from hashlib import blake2b

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from gwaudit.analysis import ranked_table
from gwaudit.analysis.audit import Audit
from gwaudit.analysis.ranked_table import RankedTable, in_rank_order
from gwaudit.analysis.ranking import rank
from gwaudit.analysis.verdict import Verdict
from gwaudit.core.settings import RankingSettings
from gwaudit.pipeline.results import write_results
from gwaudit.review.report import page
from gwaudit.store.results import results_of
from gwaudit.store.store import TrajectoryStore
from helpers.audits import make_audit

N, EPOCHS, CLASSES = 400, 4, ("ant", "bee", "cat")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A tenth of the labels is wrong, many scores are equal, a class has one sample, and sample 7 is never recorded."""
    random = np.random.default_rng(0)
    labels = np.arange(N) % 2
    labels[-1] = 2
    path = tmp_path_factory.mktemp("ranked") / "run"
    with TrajectoryStore.create(path, given_labels=labels, class_names=CLASSES, block_rows=150) as store:
        for epoch in range(EPOCHS):
            level = np.where(np.arange(N) % 10 == 3, -0.1, 0.1) + random.normal(0, 0.03, N).round(2)
            signals = {
                "alignment": level, "alternative_alignment": -level, "margin": 10 * level,
                "loss": np.logaddexp(0, -10 * level),
                "given_probability": 1 / (1 + np.exp(-10 * level)), "el2n": np.abs(level),
                "alternative_label": 1 - labels % 2, "predicted_label": np.where(level > 0, labels, 1 - labels % 2),
            }  # fmt: skip
            recorded = np.arange(N) != 7
            signals = {name: v.astype(np.int32 if v.dtype.kind == "i" else np.float32) for name, v in signals.items()}
            store.append_epoch(epoch, np.flatnonzero(recorded), {name: v[recorded] for name, v in signals.items()})
    return TrajectoryStore.open(path)


@pytest.fixture
def small_blocks(monkeypatch):
    """Make 400 rows too many for the memory, and for one block."""
    monkeypatch.setattr(ranked_table, "BLOCK_ROWS", 60)
    monkeypatch.setattr(ranked_table, "MOST_IN_MEMORY", 100)
    monkeypatch.setattr(ranked_table, "_ROW_GROUP", 32)


@pytest.fixture(scope="module")
def in_memory(run):
    return rank(run, RankingSettings(force=True))


@pytest.fixture
def in_file(run, in_memory, small_blocks):
    return rank(run, RankingSettings(force=True))


def test_the_ranking_is_the_same_bit_for_bit(in_memory, in_file):
    assert len(list(in_memory.table.frames())) == 1
    assert len(list(in_file.table.frames())) > 5
    pd.testing.assert_frame_equal(in_file.frame, in_memory.frame, check_exact=True)
    assert (in_file.threshold, in_file.verdict) == (in_memory.threshold, in_memory.verdict)


def test_its_parts_are_those_of_the_frame(in_memory, in_file):
    pd.testing.assert_frame_equal(in_file.head(70), in_memory.frame.head(70))
    pd.testing.assert_frame_equal(in_file.suspects, in_memory.frame[in_memory.frame["suspect"]])
    pd.testing.assert_frame_equal(in_file.to_review(5), in_memory.suspects.head(5))
    assert in_file.summary() == in_memory.summary()
    for column in in_memory.frame:
        np.testing.assert_array_equal(in_file.column(column), in_memory.frame[column].to_numpy())
        np.testing.assert_array_equal(in_file.by_id(column), in_memory.by_id(column))


def test_all_files_of_the_results_are_the_same(run, in_memory, in_file):
    files = []
    for audit in (in_memory, in_file):
        version = results_of(write_results(audit, None, run).audit.run)
        files.append({path.relative_to(version): path.read_bytes() for path in version.rglob("*") if path.is_file()})
    assert {"suspects.csv", "split.csv", "class_health.csv", "report.html"} <= {path.name for path in files[0]}
    assert files[0].keys() == files[1].keys()
    differ = {path.name for path in files[0] if files[0][path] != files[1][path]}
    assert differ <= {"audit.parquet", "audit.json", "contents.json"}


def test_the_page_keeps_decisions_under_a_digest_of_the_samples(in_file, monkeypatch):
    monkeypatch.setattr(page, "_DIGESTED_ROWS", 64)
    samples = [list(in_file.by_id("key")), in_file.by_id("given_label").tolist(), list(CLASSES)]
    assert page._digest_of_samples(in_file) == blake2b(json.dumps(samples).encode(), digest_size=8).hexdigest()


def test_it_is_saved_and_loaded_in_its_file(in_memory, in_file, tmp_path):
    in_file.save(tmp_path / "large")
    in_memory.save(tmp_path / "small")
    loaded = Audit.load(tmp_path / "large")
    assert len(list(loaded.table.frames())) > 5
    pd.testing.assert_frame_equal(loaded.frame, in_memory.frame)
    pd.testing.assert_frame_equal(Audit.load(tmp_path / "small").frame, in_memory.frame)


@pytest.mark.parametrize("rows", [0, 1, 60, 61, 120, 400])
def test_rows_come_in_the_order_of_their_ranks(rows, small_blocks):
    ranks = np.random.default_rng(rows).permutation(rows) + 1
    blocks = [pa.table({"value": ranks[start : start + 47] * 10}) for start in range(0, rows, 47)]
    ordered = list(in_rank_order(blocks, ranks))
    assert all(table.num_rows <= 60 for table in ordered)
    values = [value for table in ordered for value in table["value"].to_pylist()]
    assert values == [10 * (i + 1) for i in range(rows)]


def test_a_table_without_rows_has_its_columns():
    table = RankedTable(pd.DataFrame({"rank": np.empty(0, np.int64)}))
    assert (len(table), table.names, len(table.head(5)), len(table.select(np.empty(0, bool)))) == (0, ["rank"], 0, 0)


def test_an_audit_is_shown_in_one_line():
    audit = make_audit("abc", [0, 1, 1], ["cat", "dog"], suspects=[2])
    assert repr(audit) == "<Audit of 3 samples: trust it, 1 suspects>"
    withheld = replace(audit, verdict=Verdict("use the order"))
    assert repr(withheld) == "<Audit of 3 samples: use the order, without a cut>"


def test_columns_and_texts_of_a_file_are_those_in_memory(small_blocks):
    random = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "key": [f"k{i}" for i in range(N)],
            "name": random.choice(["ant", "bee"], N),
            "label": pd.array([*range(N - 1), None], pd.Int64Dtype()),  # missing in the last part alone
            "score": np.where(np.arange(N) % 7, random.normal(size=N), np.nan).astype(np.float32),
            "suspect": random.random(N) < 0.5,
        }
    )
    table = RankedTable.of_blocks([frame[:150], frame[150:]])
    for name in ("key", "name", "score", "suspect"):
        found = table.column(name)
        np.testing.assert_array_equal(found, frame[name])
        assert found.dtype == np.asarray(frame[name]).dtype
    np.testing.assert_array_equal(table.column("label"), frame["label"].to_numpy(np.float64, na_value=np.nan))
    assert len({id(text) for text in table.column("name")}) == 2
    order = random.permutation(N)
    rank = np.empty(N, np.int64)
    rank[order] = np.arange(1, N + 1)
    for each in (table, RankedTable(frame)):
        assert each.texts("key", rank).to_pylist() == frame["key"][order].tolist()
