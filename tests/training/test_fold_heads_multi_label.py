"""Multi-label samples are cross-fitted too: each label is judged by a head that did not learn its sample."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score
from torch.nn import functional

from gwaudit import LabeledDataset, RankingSettings, TrainingSettings, TrajectoryStore, rank
from gwaudit.analysis.sample_statistics import is_held_out
from gwaudit.core.errors import SettingsError
from gwaudit.core.settings import ResolvedTrainingSettings
from gwaudit.data.inputs import features
from gwaudit.training.automatic_settings import resolve
from gwaudit.training.checkpoints import epoch_checkpoint
from gwaudit.training.fold_heads import FoldHeads, assign_heads, learned_by_heads, loss_of_heads
from gwaudit.training.loss import Loss
from gwaudit.training.preprocessing import with_scaled_features
from gwaudit.training.tensor_files import read_tensors
from gwaudit.training.trainer import predict, train
from helpers.interrupting import train_until

N, N_CLASSES = 300, 5


def linear_tags(seed=0, n=N, rate=0.05):
    """Linear classes of Gaussian features with a rate of wrong labels: the data set, and which are wrong."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, 8))
    truth = (x @ random.normal(size=(8, N_CLASSES)) + random.uniform(-3, 0, N_CLASSES) > 0).astype(np.int64)
    wrong = random.random(truth.shape) < rate
    names, keys = tuple("abcde"), [f"s{i}" for i in range(n)]
    data = LabeledDataset(
        "tags", features(torch.from_numpy(x).float()), np.where(wrong, 1 - truth, truth), names, keys, true_labels=truth
    )
    return data, wrong


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_a_head_has_the_gradient_of_the_labels_outside_its_fold_alone(kind):
    torch.manual_seed(0)
    inputs, folds = torch.randn(12, 5), torch.arange(12) // 4
    labels = (torch.rand(12, 3) < 0.4).long()
    heads, loss = FoldHeads(kind, n_features=5, n_classes=3, n_heads=3), Loss(labels, 3, ResolvedTrainingSettings())
    with torch.no_grad():
        heads.head.weight.normal_()
    weights = torch.rand(12)
    learned_by = learned_by_heads(folds[:, None], weights, 3)
    mean = loss_of_heads(loss, heads(inputs)[1], labels, labels, learned_by, learned_by)
    together = torch.autograd.grad(3 * mean, heads.head.weight)[0]
    for fold in range(3):
        learned = folds != fold
        logits = heads(inputs[learned])[1][fold]
        losses = functional.binary_cross_entropy_with_logits(logits, labels[learned].float(), reduction="none")
        alone = (losses.sum(1) * weights[learned]).sum() / weights[learned].sum()
        torch.testing.assert_close(together[fold], torch.autograd.grad(alone, heads.head.weight)[0][fold])


def test_parts_of_a_batch_have_the_gradient_of_the_whole():
    torch.manual_seed(0)
    inputs, labels = torch.randn(13, 5), (torch.rand(13, 3) < 0.4).long()
    left_out = assign_heads(labels, 2, 2, seed=0)
    heads, loss = FoldHeads("mlp", n_features=5, n_classes=3, n_heads=4), Loss(labels, 3, ResolvedTrainingSettings())
    learned = learned_by_heads(left_out, torch.rand(13), 4)

    def gradient(part):
        logits, of_part = heads(inputs[part])[1], labels[part]
        part_loss = loss_of_heads(loss, logits, of_part, of_part, learned[:, part], learned)
        return torch.autograd.grad(part_loss * len(of_part) / len(labels), heads.head.weight)[0]

    torch.testing.assert_close(gradient(slice(0, 7)) + gradient(slice(7, 13)), gradient(slice(None)))


def test_a_rare_class_is_shared_by_the_folds():
    shares, generator = torch.tensor([0.5, 0.3, 0.05, 0.1]), torch.Generator().manual_seed(0)
    labels = (torch.rand((200, 4), generator=generator) < shares).long()
    labels[:, 2] = 0
    labels[:10, 2] = 1
    folds = assign_heads(labels, 5, 1, seed=3)[:, 0]
    assert folds[:10].bincount(minlength=5).tolist() == [2] * 5
    assert folds.bincount().tolist() == [40] * 5


def test_copies_of_equal_labels_are_held_out_together_and_others_are_not():
    labels = torch.zeros((40, 3), dtype=torch.int64)
    labels[::2, 0] = labels[::4, 1] = 1
    pairs = [[4 * i, 4 * i + 2] for i in range(5)] + [[4 * i + 20, 4 * i + 24] for i in (0, 2)]
    folds = torch.cat([assign_heads(labels, 4, 1, seed, pairs)[:, 0][None] for seed in range(40)])
    together = [float((folds[:, a] == folds[:, b]).double().mean()) for a, b in pairs]
    assert together[5:] == [1.0, 1.0]
    assert all(share < 0.7 for share in together[:5]), "their labels differ"


@pytest.fixture(scope="module")
def data():
    return linear_tags()


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "run"
    train(data[0], folder, TrainingSettings(epochs=8))
    return folder


def test_each_label_is_recorded_with_a_head_that_did_not_learn_it(data, run):
    dataset, _ = data
    with TrajectoryStore.open(run) as store:
        settings = ResolvedTrainingSettings.from_dict(store.settings["training"])
        assert is_held_out(store)
        assert {candidate["head"] for candidate in store.settings["heads"]["candidates"]} == {"linear", "mlp"}
        n_heads = settings.folds * settings.fold_repeats
        heads = FoldHeads(settings.head, n_features=8, n_classes=N_CLASSES, n_heads=n_heads, multi_label=True)
        heads.load_state_dict(read_tensors(epoch_checkpoint(store, 7), torch.device("cpu"))["model"])
        recorded = store.read_epoch(7, ["margin", "loss", "alignment"]).to_pandas()
    scaled = with_scaled_features(dataset)
    mean, std = (torch.from_numpy(values) for values in scaled.channel_statistics())
    latents, logits = heads((scaled.read(torch.arange(N)) - mean) / std)
    labels = torch.from_numpy(dataset.labels)
    left_out = assign_heads(labels, settings.folds, settings.fold_repeats, settings.seed)
    head = left_out[:, 7 % settings.fold_repeats]
    held_out = logits[head, torch.arange(N)].detach()
    losses = functional.binary_cross_entropy_with_logits(held_out, labels.float(), reduction="none")
    np.testing.assert_allclose(recorded["loss"], losses.flatten(), atol=1e-4)
    for sample, label in ((0, 0), (100, 2), (299, 4)):
        parameters = torch.cat([heads.head.weight[head[sample], label], heads.head.bias[head[sample], label][None]])
        parameters = parameters.detach().double().requires_grad_()
        latent = torch.cat([latents[head[sample], sample].detach(), torch.ones(1)]).double()
        loss = functional.binary_cross_entropy_with_logits(parameters @ latent, labels[sample, label].double())
        gradient = torch.autograd.grad(loss, parameters)[0]
        cosine = functional.cosine_similarity(-gradient, parameters.detach(), dim=0)
        assert recorded["alignment"][sample * N_CLASSES + label] == pytest.approx(float(cosine), abs=1e-4)


def test_weights_of_labels_are_refused(data, run, tmp_path):
    """Heads that learn their own opinion looked sure of it: "trust it" stood over 620 suspects of 240 wrong labels."""
    with TrajectoryStore.open(run) as store:
        assert store.settings["training"]["reweighting"] is False
    with pytest.raises(SettingsError, match="`reweighting` is for samples of one class each"):
        train(data[0], tmp_path / "run", TrainingSettings(reweighting=True))


@pytest.mark.parametrize("n_wrong", [0, 48, 240])
def test_classes_that_the_heads_can_hardly_learn_are_not_trusted(tmp_path, n_wrong):
    random = np.random.default_rng(6)
    x = random.normal(size=(800, 12))
    score = x @ random.normal(size=(12, 6)) / 12**0.5
    score = np.sin(2 * score) + 0.3 * score
    given = (score > np.quantile(score, 0.75, axis=0)).astype(np.int64)
    changed = random.permutation(given.size)[:n_wrong]
    given.ravel()[changed] ^= 1
    names, keys = tuple("abcdef"), [f"s{i}" for i in range(800)]
    train(LabeledDataset("waves", features(torch.from_numpy(x).float()), given, names, keys), tmp_path / "run")
    with TrajectoryStore.open(tmp_path / "run") as store:
        assert not rank(store).verdict.is_trusted


def test_an_interrupted_training_ends_as_an_unbroken_one(data, run, tmp_path):
    settings = TrainingSettings(epochs=8)
    train_until(5, data[0], tmp_path / "run", settings)
    train(data[0], tmp_path / "run", settings, resume=True)
    with TrajectoryStore.open(run) as unbroken, TrajectoryStore.open(tmp_path / "run") as resumed:
        for epoch in range(8):
            assert resumed.read_epoch(epoch).equals(unbroken.read_epoch(epoch))


def test_predictions_are_a_probability_for_each_class(data, run):
    probability = predict(run, data[0], data[0])
    assert probability.shape == (N, N_CLASSES)
    assert float(((probability > 0.5).numpy() == data[0].true_labels).mean()) > 0.9
    assert not torch.allclose(probability.sum(1), torch.ones(N))


@pytest.mark.parametrize("rate", [0.02, 0.05])
def test_few_wrong_labels_of_several_classes_are_found_and_counted(tmp_path, rate):
    """A head that learned them all expects a quarter to a half of such errors."""
    dataset, wrong = linear_tags(seed=1, n=600, rate=rate)
    train(dataset, tmp_path / "run", TrainingSettings())
    with TrajectoryStore.open(tmp_path / "run") as store:
        audit = rank(store, RankingSettings(force=True))
    assert audit.settings.detector == "margin"
    assert average_precision_score(wrong.ravel(), -audit.by_id("rank")) > 0.9
    assert audit.expected_wrong()[-1] == pytest.approx(wrong.sum(), rel=0.2)
    suspect = audit.by_id("suspect").astype(bool)
    assert 2 * (suspect & wrong.ravel()).sum() / (suspect.sum() + wrong.sum()) > 0.85
    assert audit.verdict.is_trusted


def test_one_head_that_learned_all_labels_is_not_trusted(data, tmp_path):
    train(data[0], tmp_path / "run", TrainingSettings(epochs=4, folds=1))
    with TrajectoryStore.open(tmp_path / "run") as store:
        audit = rank(store)
        assert not is_held_out(store)
    assert audit.settings.detector == "combined"
    assert "own_head" in [finding.signal for finding in audit.verdict.findings]


def test_multi_label_features_have_the_folds_of_others():
    of_one, of_several = (resolve(TrainingSettings(), 2500, "features", multi_label=many) for many in (False, True))
    assert of_several == replace(of_one, reweighting=False)
    assert of_several.folds == 10
