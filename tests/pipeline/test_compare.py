"""Two runs side by side: samples by key, suspects by what became of them, agreement against an independent oracle."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from gwaudit import audit, compare
from gwaudit.analysis.verdict import Verdict
from gwaudit.core.errors import DataError, StoreNotFoundError
from gwaudit.core.settings import DataSettings, RankingSettings, ResolvedTrainingSettings, TrainingSettings
from gwaudit.data.loading import load_dataset
from gwaudit.pipeline.accuracy import measure_test_accuracy
from gwaudit.store.store import TrajectoryStore
from gwaudit.training.trainer import predict
from helpers.command import FAST, gwaudit
from helpers.making import make_tree
from helpers.recorded_runs import ranked_run

DIGITS = load_dataset("digits")


def run(folder, ids, labels=None, **ranking):
    part = DIGITS.subset(ids)
    if labels is not None:
        part = part.with_labels(labels)
    return ranked_run(folder, dataset=part, **ranking)


def test_suspects_are_counted_by_what_became_of_them(tmp_path):
    ids = np.arange(20)
    labels = DIGITS.labels[ids].copy()
    run(tmp_path / "a", ids, labels, suspects=[0, 1, 2, 3, 4, 5])
    labels[[0, 1]] = (labels[[0, 1]] + 1) % 10
    after = [*ids[:2], *ids[4:], 100, 101]  # 2 and 3 are dropped
    run(tmp_path / "b", after, [*labels[:2], *labels[4:], *DIGITS.labels[100:102]], suspects=[1, 2, 10, 18])
    c = compare(tmp_path / "a", tmp_path / "b")
    assert (c.common, c.gone, c.new, c.labels_changed) == (18, 2, 2, 2)
    # Of the first run 0 was corrected, 2 and 3 dropped, 5 cleared; 1 was relabelled and is suspect still, as 4 is.
    assert (c.suspects_corrected, c.suspects_dropped, c.suspects_cleared, c.suspects_stayed) == (1, 2, 1, 2)
    assert (c.suspects_new, c.suspects_added) == (1, 1)
    assert c.new_suspects == ["digits/0012"]
    assert c.jaccard == pytest.approx(2 / 5)
    assert (c.before.suspects, c.after.suspects) == (6, 4)


def test_scores_of_common_samples_correlate_as_scipy_has_it(tmp_path):
    random = np.random.default_rng(0)
    scores = random.normal(size=(2, 50)).round(1)  # with ties
    scores[1] += scores[0]
    run(tmp_path / "a", np.arange(50), log_odds=scores[0])
    run(tmp_path / "b", np.arange(50)[::-1].copy(), log_odds=scores[1][::-1])
    assert compare(tmp_path / "a", tmp_path / "b").rank_correlation == pytest.approx(spearmanr(*scores).statistic)


def test_a_run_compared_with_itself_agrees_with_itself(tmp_path):
    run(tmp_path / "a", np.arange(30), suspects=[4], log_odds=np.arange(30.0))
    c = compare(tmp_path / "a", tmp_path / "a")
    assert (c.jaccard, c.suspects_stayed, c.labels_changed, c.gone, c.new) == (1.0, 1, 0, 0, 0)
    assert c.rank_correlation == pytest.approx(1)


def test_facts_are_those_of_the_chosen_epoch_and_unknown_ones_are_null(tmp_path):
    run(tmp_path / "a", np.arange(20), gwa=float("nan"))
    run(tmp_path / "b", np.arange(20), gwa=0.2)
    (tmp_path / "b" / "evaluation.json").write_text(json.dumps({"n": 20, "n_wrong": 5, "average_precision": 0.5}))
    facts = json.loads(gwaudit("compare", tmp_path / "a", tmp_path / "b", "--json").stdout)
    assert facts["before"]["gwa"] is None
    assert facts["before"]["label_accuracy"] is None
    assert facts["after"]["gwa"] == pytest.approx(0.2)
    assert (facts["after"]["label_accuracy"], facts["after"]["average_precision"]) == (0.75, 0.5)
    assert facts["jaccard"] is None, "nobody is suspect"
    shown = gwaudit("compare", tmp_path / "a", tmp_path / "b").stdout
    assert "0.7500" in shown
    assert "-" in next(line for line in shown.splitlines() if "GWA" in line)


def test_runs_that_cannot_be_compared_are_refused(tmp_path):
    run(tmp_path / "a", np.arange(20))
    run(tmp_path / "b", np.arange(30, 50))
    with pytest.raises(DataError, match="no sample in common"):
        compare(tmp_path / "a", tmp_path / "b")
    with TrajectoryStore.create(tmp_path / "c", given_labels=[0, 1], class_names=["p", "q"]):
        pass
    with pytest.raises(StoreNotFoundError, match="holds no audit"):
        compare(tmp_path / "a", tmp_path / "c")
    # Row numbers for keys, as a table without ids has them: after a drop they name other rows.
    ranked_run(tmp_path / "d", dataset=DIGITS.subset(range(20)))
    ranked_run(tmp_path / "e", dataset=DIGITS.subset(range(15)))
    done = gwaudit("compare", tmp_path / "d", tmp_path / "e")
    assert done.returncode == 2
    assert "row numbers" in done.stderr
    for name, n in (("f", 20), ("g", 15)):  # of one source rows keep their numbers
        ranked_run(tmp_path / name, DataSettings("digits"), dataset=DIGITS.subset(range(n)))
    assert compare(tmp_path / "f", tmp_path / "g").gone == 5


def tagged_run(folder, labels, keys, classes, **ranking):
    """Return the audit of a multi-label table whose columns of 0 and 1 have the order of `classes`."""
    folder.mkdir()
    table = pd.DataFrame(np.random.default_rng(3).normal(size=(60, 3)), columns=[*"xyz"])
    table = table.assign(**dict(zip("abc", labels.T, strict=True)))
    table = table.iloc[keys].assign(id=[f"s{key}" for key in keys])
    table.to_csv(folder / "tags.csv", index=False)
    data = DataSettings(str(folder / "tags.csv"), label_column=",".join(classes), id_column="id")
    settings = TrainingSettings(epochs=2)
    return audit(data, folder / "run", settings, RankingSettings(**ranking)).audit


def test_multi_label_runs_are_compared_by_class_and_counted_by_sample(tmp_path):
    labels = np.random.default_rng(1).integers(0, 2, (60, 3))
    corrected = labels.copy()
    corrected[7, 1] ^= 1
    audits = [
        tagged_run(tmp_path / "a", labels, [*range(60)], "abc", top=4),
        tagged_run(tmp_path / "b", corrected, [*range(5, 60)], "cab", top=6),
    ]
    c = compare(tmp_path / "a" / "run", tmp_path / "b" / "run")
    assert (c.before.samples, c.after.samples, c.common, c.gone, c.new, c.labels_changed) == (60, 55, 55, 5, 0, 1)
    frames = [each.frame.set_index(["key", "class_name"]) for each in audits]
    shared = frames[1].index
    odds = [frame.loc[shared, "log_odds_wrong"] for frame in frames]
    assert c.rank_correlation == pytest.approx(spearmanr(*odds).statistic)
    flagged = [set(frame.index[frame["suspect"].astype(bool)]) for frame in frames]
    new = flagged[1] - flagged[0]
    assert c.new_suspects == [f"{key}: {name}" for key, name in shared if (key, name) in new]
    assert (c.suspects_new, c.suspects_stayed) == (len(new), len(flagged[0] & flagged[1]))
    assert set(zip(c.frame["key"], c.frame["class_name"], strict=True)) == set(shared)
    run(tmp_path / "one", np.arange(20))
    with pytest.raises(DataError, match="is multi-label and the other run is not"):
        compare(tmp_path / "one", tmp_path / "a" / "run")


def test_row_numbers_of_multi_label_tables_are_no_keys_either(tmp_path):
    for name, n in (("a", 40), ("b", 38)):
        labels = np.random.default_rng(1).integers(0, 2, (n, 3))
        np.savez(tmp_path / f"{name}.npz", x=np.random.default_rng(0).normal(size=(n, 4)), y=labels)
        audit(DataSettings(str(tmp_path / f"{name}.npz")), tmp_path / name, TrainingSettings(epochs=2))
    with pytest.raises(DataError, match="row numbers"):
        compare(tmp_path / "a", tmp_path / "b")


@pytest.mark.slow
def test_test_accuracy_is_measured_on_another_split_by_class_name(tmp_path):
    make_tree(tmp_path / "data" / "train", ("ant", "bee", "cat"), per_class=4)
    make_tree(tmp_path / "data" / "test", ("bee", "cat"), per_class=3)
    source = tmp_path / "data"
    assert gwaudit("audit", source, "-o", tmp_path / "run", *FAST).returncode == 0
    measured = measure_test_accuracy(tmp_path / "run")
    train, test = load_dataset(source), load_dataset(source, split="test")
    predicted = predict(tmp_path / "run", train, test).argmax(1).numpy()
    said = [train.class_names[label] for label in predicted]
    assert measured == np.mean([name == test.class_names[y] for name, y in zip(said, test.labels, strict=True)])
    assert measure_test_accuracy(tmp_path / "run", source=str(source / "test")) == measured
    facts = json.loads(gwaudit("compare", tmp_path / "run", tmp_path / "run", "--test-split", "test", "--json").stdout)
    assert facts["after"]["test_accuracy"] == measured
    with pytest.raises(DataError, match=r"has no split 'train' apart from 'train'"):
        measure_test_accuracy(tmp_path / "run", "train")
    (tmp_path / "data" / "test" / "bee").rename(tmp_path / "data" / "test" / "dog")
    with pytest.raises(DataError, match="has the class 'dog', which the run does not have"):
        measure_test_accuracy(tmp_path / "run")


def test_settings_of_the_choice_are_the_runs(tmp_path):
    dataset = DIGITS.subset(range(20))
    data = DataSettings("digits")
    ranked_run(tmp_path / "a", data, dataset=dataset, training=ResolvedTrainingSettings(select="gwa-scratch"))
    assert compare(tmp_path / "a", tmp_path / "a").before.epoch == 1


def test_suspects_are_not_compared_with_a_run_that_offers_none(tmp_path):
    run(tmp_path / "a", np.arange(20), suspects=[0, 1, 2])
    without = run(tmp_path / "b", np.arange(20), suspects=[])
    replace(without, verdict=Verdict("use the order")).save(tmp_path / "b")
    c = compare(tmp_path / "a", tmp_path / "b")
    assert (c.suspects_cleared, c.suspects_stayed, c.new_suspects) == (None, None, [])
    assert (c.suspects_corrected, c.suspects_dropped) == (0, 0)
    assert np.isnan(c.jaccard)
    done = gwaudit("compare", tmp_path / "a", tmp_path / "b")
    assert "offers no cut for" in done.stdout
    assert "no longer suspect" not in done.stdout
