"""Heads of folds learn what they should, and record each sample with a head that did not learn it."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from torch.nn import functional

from gwaudit import RankingSettings, TrainingSettings, TrajectoryStore, load_dataset, rank
from gwaudit.analysis.evaluation import quality
from gwaudit.benchmarks.trust.data_sets import from_arrays, with_wrong_labels
from gwaudit.benchmarks.trust.generated_sets import linear_classes
from gwaudit.core.errors import SettingsError
from gwaudit.core.settings import ResolvedTrainingSettings
from gwaudit.training.automatic_settings import resolve
from gwaudit.training.checkpoints import epoch_checkpoint
from gwaudit.training.fold_heads import (
    FoldHeads,
    assign_folds,
    assign_heads,
    held_out_log_probabilities,
    learned_by_heads,
    loss_of_heads,
)
from gwaudit.training.loss import Loss
from gwaudit.training.preprocessing import with_scaled_features
from gwaudit.training.tensor_files import read_tensors
from gwaudit.training.trainer import predict, train
from helpers.interrupting import train_until


@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=80),
    st.integers(1, 7),
    st.integers(0, 3),
    st.permutations(range(5)),
)
def test_folds_share_samples_and_classes_equally_whatever_the_classes_are_called(labels, n_folds, seed, names):
    labels = torch.tensor(labels)
    folds = assign_folds(labels, n_folds, seed)
    sizes = folds.bincount(minlength=n_folds)
    assert int(sizes.max() - sizes.min()) <= 1
    for label in labels.unique():
        of_class = folds[labels == label].bincount(minlength=n_folds)
        assert int(of_class.max() - of_class.min()) <= 1
    assert torch.equal(assign_folds(torch.tensor(names)[labels], n_folds, seed), folds)


def test_each_division_leaves_a_sample_out_of_one_of_its_own_heads():
    labels = torch.arange(60) % 3
    left_out = assign_heads(labels, 10, 3, seed=0)
    assert torch.equal(left_out // 10, torch.arange(3).expand(60, 3))
    assert torch.equal(left_out[:, 0], assign_folds(labels, 10, seed=0))
    assert not torch.equal(left_out[:, 0], left_out[:, 1] - 10)


@pytest.mark.parametrize("kind", ["linear", "mlp"])
@pytest.mark.parametrize("is_weighted", [False, True])
def test_a_head_has_the_gradient_of_the_samples_outside_its_fold_alone(kind, is_weighted):
    torch.manual_seed(0)
    features, labels, folds = torch.randn(12, 5), torch.arange(12) % 3, torch.arange(12) // 4
    heads, loss = FoldHeads(kind, n_features=5, n_classes=3, n_heads=3), Loss(labels, 3, ResolvedTrainingSettings())
    with torch.no_grad():
        heads.head.weight.normal_()
    weights = torch.rand(12) if is_weighted else torch.ones(12)
    learned_by = learned_by_heads(folds[:, None], weights, 3)
    mean = loss_of_heads(loss, heads(features)[1], labels, labels, learned_by, learned_by)
    together = torch.autograd.grad(3 * mean, heads.head.weight)[0]
    for fold in range(3):
        learned = folds != fold
        losses = functional.cross_entropy(heads(features[learned])[1][fold], labels[learned], reduction="none")
        alone = (losses * weights[learned]).sum() / weights[learned].sum()
        torch.testing.assert_close(together[fold], torch.autograd.grad(alone, heads.head.weight)[0][fold])


def test_parts_of_a_batch_have_the_gradient_of_the_whole():
    torch.manual_seed(0)
    features, labels = torch.randn(13, 5), torch.arange(13) % 3
    left_out = assign_heads(labels, 2, 2, seed=0)
    heads, loss = FoldHeads("mlp", n_features=5, n_classes=3, n_heads=4), Loss(labels, 3, ResolvedTrainingSettings())
    learned = learned_by_heads(left_out, torch.rand(13), 4)

    def gradient(part):
        logits, of_part = heads(features[part])[1], labels[part]
        part_loss = loss_of_heads(loss, logits, of_part, of_part, learned[:, part], learned)
        return torch.autograd.grad(part_loss * len(of_part) / len(labels), heads.head.weight)[0]

    whole = gradient(slice(None))
    torch.testing.assert_close(gradient(slice(0, 7)) + gradient(slice(7, 13)), whole)


def test_held_out_predictions_are_those_of_the_last_half_of_the_epochs():
    features, labels = torch.randn((40, 3), generator=torch.Generator().manual_seed(0)), torch.arange(40) % 2
    left_out = assign_heads(labels, 2, 1, seed=0)
    settings = ResolvedTrainingSettings(epochs=2, batch_size=8, learning_rate=0.5)
    heads = FoldHeads("linear", n_features=3, n_classes=2, n_heads=2)
    predicted = held_out_log_probabilities(features, labels, left_out, heads, Loss(labels, 2, settings), settings)
    logits = heads(features)[1].detach()  # of the last epoch, the second of two
    torch.testing.assert_close(predicted, logits[left_out[:, 0], torch.arange(40)].log_softmax(1))


@pytest.mark.parametrize(("rows", "repeats"), [(90, 6), (1000, 6), (1500, 4), (3000, 2), (3001, 1), (20_000, 1)])
def test_few_rows_are_divided_into_folds_several_times(rows, repeats):
    assert resolve(TrainingSettings(), n_samples=rows, modality="features").fold_repeats == repeats


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """90 samples of three classes with 9 wrong labels: the source, and which are wrong."""
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 30)
    features = random.normal(size=(90, 4)) + 4 * np.eye(4)[labels]
    wrong = np.arange(0, 90, 10)
    labels[wrong] = (labels[wrong] + 1) % 3
    path = tmp_path_factory.mktemp("table") / "table.npz"
    np.savez(path, X=features.astype(np.float32), y=labels)
    return path, wrong


@pytest.fixture(scope="module")
def run(table, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "run"
    train(load_dataset(str(table[0])), folder, TrainingSettings(epochs=6))
    return folder


def test_each_sample_is_recorded_with_the_head_that_did_not_learn_it(table, run):
    dataset = load_dataset(str(table[0]))
    with TrajectoryStore.open(run) as store:
        settings = ResolvedTrainingSettings.from_dict(store.settings["training"])
        assert (settings.folds, settings.fold_repeats) == (10, 6)
        assert {"linear", "mlp"} <= {candidate["head"] for candidate in store.settings["heads"]["candidates"]}
        assert settings.head != "trees"  # classes of one centre each
        heads = FoldHeads(settings.head, n_features=4, n_classes=3, n_heads=60)
        heads.load_state_dict(read_tensors(epoch_checkpoint(store, 5), torch.device("cpu"))["model"])
        recorded = store.read_epoch(5, ["sample_id", "loss", "margin", "alignment"]).to_pandas()
    scaled = with_scaled_features(dataset)
    mean, std = scaled.channel_statistics()
    inputs = (scaled.read(torch.arange(90)) - torch.from_numpy(mean)) / torch.from_numpy(std)
    labels = torch.from_numpy(dataset.labels)
    left_out = assign_heads(labels, 10, 6, settings.seed)
    latents, logits = heads(inputs)
    learned = recorded.loc[recorded["loss"] > 1e-3, "sample_id"]  # with a smaller loss autograd loses the gradient
    for sample in learned.iloc[[0, len(learned) // 2, -1]]:
        head = int(left_out[sample, 5])  # of the sixth division, in the sixth epoch
        weight, bias = heads.head.weight[head].detach(), heads.head.bias[head].detach()
        parameters = torch.cat([weight, bias[:, None]], 1).double().requires_grad_()
        latent = torch.cat([latents[head, sample].detach(), torch.ones(1)]).double()
        loss = functional.cross_entropy((parameters @ latent)[None], labels[sample][None])
        gradient = torch.autograd.grad(loss, parameters)[0]
        row = recorded[recorded["sample_id"] == sample].iloc[0]
        assert row["loss"] == pytest.approx(float(loss.detach()), abs=1e-4)
        cosine = functional.cosine_similarity(-gradient.flatten(), parameters.detach().flatten(), dim=0)
        assert row["alignment"] == pytest.approx(float(cosine.detach()), abs=1e-4)
    assert logits.shape == (60, 90, 3)


def test_wrong_labels_of_a_small_table_are_flagged_and_no_others(table, run):
    with TrajectoryStore.open(run) as store:
        audit = rank(store)
    assert audit.settings.detector == "margin"
    assert audit.window == (3, 5)
    assert sorted(audit.frame["sample_id"].head(9)) == table[1].tolist()


def test_an_interrupted_training_ends_as_an_unbroken_one(table, run, tmp_path):
    dataset = load_dataset(str(table[0]))

    train_until(2, dataset, tmp_path / "run", TrainingSettings(epochs=6))
    train(dataset, tmp_path / "run", TrainingSettings(epochs=6), resume=True)
    with TrajectoryStore.open(run) as unbroken, TrajectoryStore.open(tmp_path / "run") as resumed:
        for epoch in range(6):
            assert resumed.read_epoch(epoch).equals(unbroken.read_epoch(epoch))


def test_predictions_are_the_mean_of_all_heads(table, run):
    dataset = load_dataset(str(table[0]))
    probability = predict(run, dataset, dataset)
    assert probability.shape == (90, 3)
    torch.testing.assert_close(probability.sum(1), torch.ones(90))
    given = LogisticRegression().fit(dataset.read(torch.arange(90)), dataset.labels)
    assert (probability.argmax(1).numpy() == given.predict(dataset.read(torch.arange(90)))).mean() > 0.9


def test_one_fold_records_the_training_samples_of_one_head(table, tmp_path):
    train(load_dataset(str(table[0])), tmp_path / "run", TrainingSettings(epochs=2, folds=1))
    with TrajectoryStore.open(tmp_path / "run") as store:
        audit = rank(store)
        assert store.settings["training"]["head"] == "linear"
    assert audit.settings.detector == "combined"


@pytest.mark.parametrize(("folds", "message"), [(60, "too many for 90 samples"), (0, "at least 1")])
def test_folds_that_cannot_be_made_are_refused(table, tmp_path, folds, message):
    with pytest.raises(SettingsError, match=message):
        train(load_dataset(str(table[0])), tmp_path / "run", TrainingSettings(folds=folds))


def test_repeats_without_folds_are_refused(table, tmp_path):
    with pytest.raises(SettingsError, match="this training has no folds"):
        train(load_dataset(str(table[0])), tmp_path / "run", TrainingSettings(folds=1, fold_repeats=2))


@pytest.mark.parametrize(
    ("samples", "folds"), [(3, 1), (12, 3), (20_000, 10), (20_001, 9), (50_000, 4), (100_000, 2), (10_000_000, 2)]
)
def test_many_samples_are_divided_into_folds_too(samples, folds):
    assert resolve(TrainingSettings(), samples, "features").folds == folds


@pytest.mark.slow
def test_the_wrong_labels_of_many_rows_are_counted(tmp_path):
    values, labels = linear_classes(24_000, 20, 5, clusters=2, separation=1.5)
    given = np.where(np.random.default_rng(0).random(24_000) < 0.1, (labels + 1) % 5, labels)
    dataset = with_wrong_labels(from_arrays("many", (values, labels)), given)
    train(dataset, tmp_path / "run", TrainingSettings(head="mlp", weight_decay=0.005))
    with TrajectoryStore.open(tmp_path / "run") as store:
        audit = rank(store, RankingSettings(force=True))
    wrong = given != labels
    assert audit.expected_wrong()[-1] == pytest.approx(wrong.sum(), rel=0.35)
    found = quality(-audit.by_id("rank").astype(np.float64), wrong, audit.by_id("suspect"))
    assert found.f1 > 0.95 * found.best_f1


def test_folds_of_images_are_refused(tmp_path):
    with pytest.raises(SettingsError, match="heads on features"):
        train(load_dataset("digits"), tmp_path / "run", TrainingSettings(folds=5))


def test_a_head_that_is_named_is_trained(table, tmp_path):
    settings = TrainingSettings(epochs=1, head="mlp", weight_decay=0.03, folds=3, reweighting=True)
    train(load_dataset(str(table[0])), tmp_path / "run", settings)
    with TrajectoryStore.open(tmp_path / "run") as store:
        kept = store.settings["training"]
        assert (kept["head"], kept["weight_decay"], kept["folds"]) == ("mlp", 0.03, 3)
        assert store.settings["heads"] is None
