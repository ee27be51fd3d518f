"""The trust benchmark measures each cell once, keeps its rows, and says how far its criteria are met."""

import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from gwaudit.benchmarks.trust import benchmark
from gwaudit.benchmarks.trust.benchmark import trust
from gwaudit.benchmarks.trust.cells import measure, prepare
from gwaudit.benchmarks.trust.data_sets import TrustSet, from_arrays, select_sets
from gwaudit.benchmarks.trust.figures import write_figure
from gwaudit.benchmarks.trust.peers import aum_detection, cleanlab_detection
from gwaudit.benchmarks.trust.processes import in_processes
from gwaudit.benchmarks.trust.rows import Cell, Found, TrustRow, read_rows, write_rows
from gwaudit.benchmarks.trust.sources import Sources
from gwaudit.benchmarks.trust.stability import StabilityRow, measure_stability
from gwaudit.benchmarks.trust.summary import criteria, markdown
from gwaudit.core.errors import SettingsError
from helpers.command import gwaudit

ROW = TrustRow(
    name="moons", role="test", kind="features", n=100, n_features=2, n_classes=2, accuracy=0.99, errors="uniform",
    rate=0.1, seed=0, n_wrong=10, gwaudit=Found(0.9, 0.9, 0.88, 10), level="trust it", findings=(),
    signals={"rows": 100}, expected_wrong=9.5, cleanlab=Found(0.8, 0.8, 0.7, 12), aum=Found(0.85, 0.8),
)  # fmt: skip
CLEAN = replace(
    ROW, errors="clean", rate=0.0, n_wrong=0, gwaudit=Found(n_flagged=0), cleanlab=Found(n_flagged=3), aum=Found()
)


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    pytest.importorskip("cleanlab", reason="needs the peers extra")
    folder = tmp_path_factory.mktemp("trust")
    done = gwaudit(
        "benchmark", "trust", "--sets", "tiny,questions-8", "--rates", "0.2", "--errors", "clean,uniform", "--seeds", 0,
        "-o", folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder, done


def test_the_command_measures_each_cell_and_leaves_out_what_it_has_no_file_for(output):
    folder, done = output
    rows = read_rows(folder)
    assert [row.key for row in rows] == [("tiny", Cell("clean", 0.0, 0)), ("tiny", Cell("uniform", 0.2, 0))]
    assert rows[1].n_wrong == 12
    assert rows[1].level in ("trust it", "use the order", "do not use")
    for found in (rows[1].gwaudit, rows[1].cleanlab, rows[1].aum):
        assert 0.2 < found.average_precision <= 1
    assert "questions-8 is left out: needs `questions`" in done.stderr
    assert "| tiny | chosen | 60 | 8 | 3 |" in done.stdout
    assert (folder / "trust.md").read_text() in done.stdout


def test_cells_that_are_kept_are_not_computed_again(output):
    folder, _ = output
    before = (folder / "trust.json").read_text()
    rows = trust(folder, select_sets(["tiny"]), errors=("uniform",), rates=(0.2,), seeds=(0,))
    assert (folder / "trust.json").read_text() == before
    assert rows == read_rows(folder)


def test_cells_that_were_measured_are_kept_when_a_later_one_fails(tmp_path, monkeypatch):
    def measure_or_stop(prepared, cell):
        if cell.rate > 0.1:
            raise KeyboardInterrupt
        return replace(ROW, name=prepared.source.name, errors=cell.errors, rate=cell.rate, seed=cell.seed)

    monkeypatch.setattr(benchmark, "measure", measure_or_stop)
    with pytest.raises(KeyboardInterrupt):
        trust(tmp_path, select_sets(["tiny"]), errors=("uniform",), rates=(0.05, 0.1, 0.2), seeds=(0,))
    assert [row.rate for row in read_rows(tmp_path)] == [0.05, 0.1]


@pytest.mark.slow
def test_processes_send_each_result_before_one_of_them_fails():
    results = in_processes(iter, ["ab", "c", 5], 2)
    assert sorted([next(results), next(results), next(results)]) == ["a", "b", "c"]
    with pytest.raises(TypeError, match="not iterable"):
        next(results)


def test_an_audit_that_is_refused_is_a_row_with_the_reason():
    values = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    made = from_arrays("few", (values, np.arange(40) % 2))
    source = TrustSet("few", "test", "features", lambda _: made, training={"select": "validation"})
    row = measure(prepare(source, Sources()), Cell("uniform", 0.1, 0))
    assert (row.level, row.gwaudit) == ("refused", Found())
    assert "validation" in row.note


def test_cleanlab_finds_wrong_labels_also_where_a_class_is_absent_or_smaller_than_the_folds():
    pytest.importorskip("cleanlab", reason="needs the peers extra")
    labels = np.repeat([0, 2, 3], [30, 30, 2])
    features = np.eye(4)[labels] + 0.1 * np.random.default_rng(0).normal(size=(62, 4))
    given = labels.copy()
    given[:3] = 2
    found = cleanlab_detection(features, given, seed=0)
    assert set(np.argsort(-found.score)[:5]) >= {0, 1, 2}
    assert found.flagged[:3].sum() >= 2


def test_rows_sorted_by_their_true_class_do_not_show_cleanlab_the_wrong_labels():
    pytest.importorskip("cleanlab", reason="needs the peers extra")
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1], 300)
    features = labels[:, None] + random.normal(size=(600, 3))
    wrong = random.random(600) < 0.15
    given, shuffled = np.where(wrong, 1 - labels, labels), random.permutation(600)
    in_order, at_random = (
        average_precision_score(wrong[rows], cleanlab_detection(features[rows], given[rows], seed=0).score)
        for rows in (np.arange(600), shuffled)
    )
    assert in_order == pytest.approx(at_random, abs=0.03)


def test_another_order_of_rows_and_classes_is_mapped_back():
    (tiny,) = select_sets(["tiny"])
    for row in measure_stability(prepare(replace(tiny, training={"epochs": 2}), Sources())):
        assert row.n_common <= min(row.n_suspects, row.n_after)
    assert StabilityRow("a", "test", "rows", "", "", 10, 8, 6).share_changed == pytest.approx(0.5)
    assert StabilityRow("a", "test", "rows", "", "", 0, 0, 0).share_changed == 0


def test_the_criteria_count_the_cells_that_they_are_about():
    bad = replace(ROW, seed=1, gwaudit=Found(0.4, 0.5, 0.2, 3))
    unsure = replace(ROW, seed=2, level="use the order", cleanlab=Found(0.95, 0.9, 0.9, 10))
    refused = replace(ROW, seed=3, level="refused", gwaudit=Found())
    stable = [StabilityRow("moons", "test", "seed", "trust it", "trust it", 10, 10, 10)]
    noise = replace(bad, kind="noise")
    by_chance = {each.text: (each.met, each.of) for each in criteria([ROW, noise])}
    assert by_chance["AP ≥ cleanlab's − 0.005"] == (1, 2)
    assert by_chance["AP ≥ cleanlab's − 0.005, labels that inputs explain"] == (1, 1)
    found = {each.text: (each.met, each.of) for each in criteria([ROW, CLEAN, bad, unsure, refused], stable)}
    assert found["AP ≥ cleanlab's"] == (1, 4)
    assert found["trusted: F1 at the cut ≥ 95% of the best"] == (1, 2)
    assert found["clean, learnable, trusted: ≤ 1% flagged"] == (1, 1)
    assert found["bad cells are not trusted"] == (1, 2)
    assert found["good cells are trusted"] == (2, 3)
    assert found["another seed: ≤ 10% of the suspects change"] == (1, 1)


def test_rows_are_written_and_read(tmp_path):
    write_rows(tmp_path, [ROW, CLEAN])
    assert read_rows(tmp_path) == [ROW, CLEAN]
    assert json.loads((tmp_path / "trust.json").read_text())["rows"][0]["gwaudit"]["f1"] == 0.88
    assert "| moons | test |" in markdown([ROW, CLEAN])


def test_the_figure_is_drawn(tmp_path):
    pytest.importorskip("matplotlib", reason="needs the notebook extra")
    assert write_figure([ROW, CLEAN], tmp_path).read_bytes().startswith(b"\x89PNG")


def test_impossible_errors_are_refused(tmp_path):
    with pytest.raises(SettingsError, match="unknown kind of label errors 'human'"):
        trust(tmp_path, errors=("human",))
    with pytest.raises(SettingsError, match=r"in \(0, 0.5\], not 0.7"):
        trust(tmp_path, rates=(0.7,))


def test_aum_puts_wrong_labels_first():
    labels = np.arange(60) % 3
    features = np.eye(3)[labels] * 3
    given = labels.copy()
    given[:4] = (given[:4] + 1) % 3
    found = aum_detection(features, given, seed=0)
    assert set(np.argsort(-found.score)[:4]) == {0, 1, 2, 3}
    assert found.flagged is None
