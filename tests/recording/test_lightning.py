"""Under Lightning's Trainer the callback records, sample by sample, exactly what the plain loop does."""

import warnings
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import numpy as np
import pytest
import timm.data
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset
from torchvision.transforms import v2

from gwaudit.core.errors import RecordingError
from gwaudit.recording.lightning import AlignmentCallback
from gwaudit.store.store import TrajectoryStore
from helpers.loops import (
    BATCH,
    CLASSES,
    EPOCHS,
    IMAGES,
    LABELS,
    N,
    assert_planted_is_found,
    assert_same,
    column,
    dataset,
    loader,
    network,
    new_store,
    optimizer_of,
    plain_run,
)

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*does not have many workers", "ignore:.*smaller than the logging interval", "ignore:.*`IterableDataset`"
)


class Digits(lightning.LightningModule):
    """As people write it: a network inside, called in `training_step`."""

    def __init__(self, model: nn.Module | None = None) -> None:
        super().__init__()
        self.model = model or network()

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model(images)
        return logits

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        images, labels, _ = batch
        return nn.functional.cross_entropy(self.model(images), labels)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", nn.functional.cross_entropy(self(batch[0]), batch[1]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return optimizer_of(self)


def trainer(tmp_path: Path, *callbacks: lightning.Callback, **options: Any) -> lightning.Trainer:
    options = {"max_epochs": EPOCHS, "enable_checkpointing": False, **options}
    return lightning.Trainer(
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
        callbacks=list(callbacks),
        **options,
    )


def fit(tmp_path: Path, module: Any = None, loaders: Any = (), name: str = "run", **options: Any) -> TrajectoryStore:
    with new_store(tmp_path / name) as store:
        trainer(tmp_path, AlignmentCallback(store), **options).fit(
            Digits() if module is None else module, *(loaders or [loader()])
        )
    return store


def test_what_is_recorded_is_what_the_plain_loop_records(tmp_path: Path) -> None:
    assert_same(fit(tmp_path), plain_run(tmp_path / "plain"))


def test_a_planted_sample_is_found_under_its_own_id_after_shuffling_and_workers(tmp_path: Path) -> None:
    store = fit(tmp_path, loaders=[loader(workers=2)])
    assert_planted_is_found(store)
    assert_same(store, plain_run(tmp_path / "plain", loader(workers=2)))


def test_validation_in_the_middle_of_an_epoch_and_the_sanity_check_are_not_recorded(tmp_path: Path) -> None:
    validation = DataLoader(TensorDataset(IMAGES[:20], LABELS[:20]), batch_size=BATCH)
    store = fit(tmp_path, loaders=[loader(), validation], val_check_interval=1, num_sanity_val_steps=2)
    assert_same(store, plain_run(tmp_path / "plain"))


def test_gradient_accumulation_records_as_the_plain_loop_that_accumulates(tmp_path: Path) -> None:
    store = fit(tmp_path, accumulate_grad_batches=2)
    assert_same(store, plain_run(tmp_path / "plain", accumulate=2))


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
@pytest.mark.filterwarnings("ignore:.*16-mixed")
def test_mixed_precision_records_as_the_plain_loop_under_autocast(tmp_path: Path, precision: Any) -> None:
    def loss_of(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):  # on a CPU Lightning takes bfloat16 for 16-mixed, too
            return nn.functional.cross_entropy(model(images), labels)

    assert_same(fit(tmp_path, precision=precision), plain_run(tmp_path / "plain", loss_of=loss_of))


def test_label_smoothing_gradient_clipping_and_a_drawn_head_name_record_as_the_plain_loop(tmp_path: Path) -> None:
    class Smoothing(Digits):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            return nn.functional.cross_entropy(self.model(batch[0]), batch[1], label_smoothing=0.2)

    def loss_of(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        return nn.functional.cross_entropy(model(images), labels, label_smoothing=0.2)

    with new_store(tmp_path / "run") as store:
        trainer(tmp_path, AlignmentCallback(store, head="model.3")).fit(Smoothing(), loader())
    assert_same(store, plain_run(tmp_path / "plain", loss_of=loss_of))


def test_a_compiled_network_and_a_compiled_module_record_as_the_plain_loop(tmp_path: Path) -> None:
    plain = plain_run(tmp_path / "plain")
    try:
        inner = fit(tmp_path, Digits(torch.compile(network(), backend="eager")), name="inner")
        whole = fit(tmp_path, torch.compile(Digits(), backend="eager"), name="whole")
    finally:
        torch.compiler.reset()
    for store in (inner, whole):
        assert_same(store, plain)


@pytest.mark.parametrize("reentrant", [False, True])
def test_activation_checkpointing_around_the_head_records_as_the_plain_loop(tmp_path: Path, reentrant: bool) -> None:
    class Checkpointed(Digits):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            logits = checkpoint(self.model, batch[0].requires_grad_(), use_reentrant=reentrant)
            return nn.functional.cross_entropy(logits, batch[1])

    assert_same(fit(tmp_path, Checkpointed()), plain_run(tmp_path / "plain"))


def test_a_resumed_training_goes_on_where_the_run_ends(tmp_path: Path) -> None:
    saved = lightning.callbacks.ModelCheckpoint(tmp_path / "checkpoints", filename="{epoch}", save_top_k=-1)
    validation = DataLoader(TensorDataset(IMAGES[:20], LABELS[:20]), batch_size=BATCH)
    with new_store(tmp_path / "run") as store:
        once = trainer(tmp_path, AlignmentCallback(store), saved, max_epochs=2, enable_checkpointing=True)
        once.fit(Digits(), loader(), validation)

    with TrajectoryStore.open(store.path, writable=True) as store:
        again = trainer(tmp_path, AlignmentCallback(store), max_epochs=3)
        first = tmp_path / "checkpoints" / "epoch=0.ckpt"
        with pytest.warns(UserWarning, match="holds epoch 1 already"):
            again.fit(Digits(), loader(), validation, ckpt_path=first, weights_only=False)
        assert store.epochs == (0, 1, 2)


def test_a_new_training_is_not_mixed_into_a_run_of_another(tmp_path: Path) -> None:
    store = fit(tmp_path)
    with (
        TrajectoryStore.open(store.path, writable=True) as store,
        pytest.raises(RecordingError, match="holds 2 epochs"),
    ):
        trainer(tmp_path, AlignmentCallback(store)).fit(Digits(), loader())


def test_an_epoch_that_is_cut_short_is_committed_with_what_it_saw(tmp_path: Path) -> None:
    store = fit(tmp_path, max_steps=4, max_epochs=-1)
    assert store.epochs == (0, 1)
    assert store.commit(1).missing == N - BATCH


@pytest.mark.parametrize("when", ["before the forward pass", "after the forward pass"])
@pytest.mark.filterwarnings("ignore:.*`training_step` returned `None`")
def test_a_step_that_returns_none_is_skipped_and_the_training_goes_on(tmp_path: Path, when: str) -> None:
    class Skipping(Digits):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            if batch_idx == 0 and when == "before the forward pass":
                return None
            loss = super().training_step(batch, batch_idx)
            return loss if batch_idx else None

    if when == "before the forward pass":
        with pytest.warns(UserWarning, match=r"epoch 1: 1 of 3 steps made no forward pass.*missing"):
            store = fit(tmp_path, Skipping())
        assert [store.commit(epoch).missing for epoch in store.epochs] == [BATCH, BATCH]
    else:
        store = fit(tmp_path, Skipping())
        assert [store.commit(epoch).missing for epoch in store.epochs] == [0, 0]


def test_a_batch_whose_loss_is_nan_is_missing_and_the_training_goes_on(tmp_path: Path) -> None:
    class Skipping(Digits):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            images = batch[0].clone()
            images[batch[2] == 7] = float("nan")
            loss = nn.functional.cross_entropy(self.model(images), batch[1])
            return loss if loss.isfinite() else None

    with pytest.warns(UserWarning, match=r"signals of 1 samples are NaN.*sample ids 7\)"):
        store = fit(tmp_path, Skipping())
    assert [store.commit(epoch).missing for epoch in store.epochs] == [1, 1]


class Mixing(Digits):
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        images, targets, _ = batch
        return nn.functional.cross_entropy(self.model(images), targets)


def one_hot(samples: list[Any]) -> Any:
    images, labels, ids = torch.utils.data.default_collate(samples)
    return images, nn.functional.one_hot(labels, CLASSES).float(), ids


def test_labels_that_are_stored_one_hot_are_observed_as_classes(tmp_path: Path) -> None:
    """They are no mixed targets: the same numbers are recorded, without evaluation passes."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", ".*soft targets")
        store = fit(tmp_path, loaders=[loader(collate_fn=one_hot)])
    assert_same(store, plain_run(tmp_path / "plain"))


def mixed(samples: list[Any]) -> Any:
    images, labels, ids = torch.utils.data.default_collate(samples)
    return *v2.MixUp(num_classes=CLASSES)(images, labels), ids


def test_mixed_targets_are_said_once_and_recorded_by_evaluation_passes_on_the_own_labels(
    tmp_path: Path,
) -> None:
    module = Mixing()
    with pytest.warns(UserWarning, match=r"soft targets.*mixup.*evaluation pass") as said:
        store = fit(tmp_path, module, loaders=[loader(collate_fn=mixed)])
    assert sum("soft targets" in str(warning.message) for warning in said) == 1
    assert store.epochs == (0, 1)
    with torch.no_grad():
        expected = nn.functional.cross_entropy(module.model(IMAGES), LABELS, reduction="none")
    np.testing.assert_allclose(column(store, 1, "loss"), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "mixing",
    [
        v2.MixUp(num_classes=CLASSES),
        v2.RandomChoice([v2.CutMix(num_classes=CLASSES), v2.MixUp(num_classes=CLASSES)]),
        timm.data.Mixup(num_classes=CLASSES),
    ],
    ids=["torchvision", "torchvision's choice", "timm"],
)
def test_mixing_that_the_module_holds_is_said_and_recorded_by_evaluation_passes(tmp_path: Path, mixing: Any) -> None:
    class MixingInside(Digits):
        def __init__(self) -> None:
            super().__init__()
            self.mixing = mixing

        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            images, targets = self.mixing(*batch[:2])
            return nn.functional.cross_entropy(self.model(images), targets)

    module = MixingInside()
    with pytest.warns(UserWarning, match=r"holds (MixUp|CutMix|Mixup).*evaluation pass"):
        store = fit(tmp_path, module, loaders=[DataLoader(dataset(), 30, shuffle=True)])
    with torch.no_grad():
        expected = nn.functional.cross_entropy(module.model(IMAGES), LABELS, reduction="none")
    np.testing.assert_allclose(column(store, 1, "loss"), expected, rtol=1e-4, atol=1e-6)


def test_mixing_that_nobody_sees_is_recorded_by_evaluation_passes_over_a_loader_that_is_given(tmp_path: Path) -> None:
    module = Digits()
    evaluation_loader = DataLoader(dataset(), batch_size=50)
    with new_store(tmp_path / "run") as store:
        trainer(tmp_path, AlignmentCallback(store, evaluation_loader=evaluation_loader)).fit(module, loader())
    with torch.no_grad():
        expected = nn.functional.cross_entropy(module.model(IMAGES), LABELS, reduction="none")
    np.testing.assert_allclose(column(store, 1, "loss"), expected, rtol=1e-4, atol=1e-6)


def test_an_evaluation_pass_does_not_change_what_is_trained(tmp_path: Path) -> None:
    trained = []
    for record in (False, True):
        module = Mixing()
        torch.manual_seed(7)
        with new_store(tmp_path / str(record)) as store:
            callbacks = [AlignmentCallback(store)] if record else []
            trainer(tmp_path, *callbacks).fit(module, loader(collate_fn=mixed))
        trained.append(module.state_dict())
    assert all(torch.equal(trained[0][name], trained[1][name]) for name in trained[0])


def test_batches_without_ids_are_refused_with_the_remedy_or_unpacked_as_told(tmp_path: Path) -> None:
    class Keyed(Digits):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            return nn.functional.cross_entropy(self.model(batch["image"]), batch["label"])

    def keyed(samples: list[Any]) -> dict[str, Tensor]:
        images, labels, ids = torch.utils.data.default_collate(samples)
        return {"image": images, "label": labels, "row": ids}

    with pytest.raises(RecordingError, match=r"\(inputs, labels, sample_ids\), not dict.*WithSampleIds.*unpack="):
        fit(tmp_path, Keyed(), loaders=[loader(collate_fn=keyed)], name="refused")
    with new_store(tmp_path / "run") as store:
        callback = AlignmentCallback(store, unpack=lambda batch: (batch["image"], batch["label"], batch["row"]))
        trainer(tmp_path, callback).fit(Keyed(), loader(collate_fn=keyed))
    assert_same(store, plain_run(tmp_path / "plain"))


def test_parts_called_one_by_one_are_refused_until_the_head_is_named(tmp_path: Path) -> None:
    class Parts(Digits):
        def __init__(self) -> None:
            super().__init__()
            model, self.model = self.model, nn.Identity()
            self.body, self.classifier = model[:3], model[3]

        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            return nn.functional.cross_entropy(self.classifier(self.body(batch[0])), batch[1])

    with pytest.raises(RecordingError, match=r"'classifier'.*head="):
        fit(tmp_path, Parts(), name="refused")
    with new_store(tmp_path / "run") as store:
        trainer(tmp_path, AlignmentCallback(store, head="classifier")).fit(Parts(), loader())
    assert_same(store, plain_run(tmp_path / "plain"))


@pytest.mark.filterwarnings("ignore:.*is an instance of `nn.Module`")
def test_a_checkpoint_whose_hyperparameters_hold_the_network_is_saved(tmp_path: Path) -> None:
    class Configured(Digits):
        def __init__(self, model: nn.Module) -> None:
            super().__init__(model)
            self.save_hyperparameters()

    saved = lightning.callbacks.ModelCheckpoint(tmp_path / "checkpoints", filename="last")
    with new_store(tmp_path / "run") as store:
        trainer(tmp_path, AlignmentCallback(store), saved, enable_checkpointing=True).fit(
            Configured(network()), loader()
        )
    again = Configured.load_from_checkpoint(tmp_path / "checkpoints" / "last.ckpt", weights_only=False)
    assert again.model(IMAGES).shape == (N, CLASSES)


def test_no_hook_is_left_on_the_model_after_fit_or_after_an_error(tmp_path: Path) -> None:
    class Failing(Digits):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            raise OSError("the disk is gone")

    modules = [Digits(), Failing()]
    fit(tmp_path, modules[0], name="fine")
    with pytest.raises(OSError, match="disk"):
        fit(tmp_path, modules[1], name="failing")
    assert not any(part._forward_hooks for module in modules for part in module.modules())
