"""How the stopping benchmark trains and measures: its defaults in one place, free of torch."""

from dataclasses import dataclass
from typing import Literal

from gwaudit.core.errors import SettingsError
from gwaudit.core.settings import Augmentation, TrainingSettings, split_commas


@dataclass(frozen=True)
class StoppingSettings:
    """What to compare stopping rules on.

    The defaults make a network fit wrong labels within the run: few samples, no augmentation, no weight decay.

    Attributes:
        sets: label sets with commas between: clean, symmetric-40, pair-30, long-tail-10 (any percentage), keys of the
            label file.
        models: networks with commas between, each trained on each label set.
        epochs: passes over the data.
        samples: training samples, drawn at random; 0 for all.
        test_samples: test images, drawn at random; 0 for all.
        test: the source of the test images. By default the split "test" of the source; where there is none, a fifth of
            the data, taken out before the samples are drawn.
        corrupted: a folder with CIFAR-10-C's .npy files; "made" to make corrupted images by a library; or "none".
        held_out: shares of the samples to keep out for validation, with commas between, a training each.
        patience: epochs that a choice has to stand before a rule stops the training.
        memorisation: networks to train on random seven tenths of the samples, to tell what is memorised; 0 for none.
        batch_size: samples a batch.
        optimizer: a timm optimizer name.
        learning_rate: at its peak.
        schedule: onecycle or cosine.
        weight_decay: on weights.
        augment: none, crop-flip, shift-flip or randaugment.
        checkpoint: a local file of weights to start from, for fine-tuning; with one model only.
        disparity_batch: samples of each of the five batches that gradient disparity is measured with; 0 leaves it out.
        dtype: bfloat16, float32, or auto.
        device: cpu, cuda, ..., or auto.
        seed: of the trainings, the draws and what is planted.
    """

    sets: str = "clean"
    models: str = "resnet9_16"
    epochs: int = 30
    samples: int = 10_000
    test_samples: int = 0
    test: str | None = None
    corrupted: str = "made"
    held_out: str = "0.1,0.01"
    patience: int = 5
    memorisation: int = 0
    batch_size: int = 128
    optimizer: str = "sgd"
    learning_rate: float = 0.02
    schedule: Literal["onecycle", "cosine"] = "cosine"
    weight_decay: float = 0.0
    augment: Augmentation = "none"
    checkpoint: str | None = None
    disparity_batch: int = 128
    dtype: Literal["auto", "bfloat16", "float32"] = "auto"
    device: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("samples", "test_samples", "memorisation", "disparity_batch"):
            if getattr(self, name) < 0:
                raise SettingsError(f"{name} must not be negative: {getattr(self, name)}")
        for name in ("sets", "models"):
            if not split_commas(getattr(self, name)):
                raise SettingsError(f"{name} names nothing: give at least one")
        if self.checkpoint is not None and len(split_commas(self.models)) > 1:
            raise SettingsError("a checkpoint is of one network: give one of --models with it")
        if self.patience < 1:
            raise SettingsError(f"patience must be at least 1 epoch, not {self.patience}")
        if self.memorisation == 1:
            raise SettingsError("memorisation compares networks with and without a sample: train at least 2, or 0")
        if self.epochs < 3:
            raise SettingsError(f"there is nothing to stop in {self.epochs} epochs: give at least 3")
        _ = self.shares

    @property
    def shares(self) -> tuple[float, ...]:
        """What is held out, as numbers.

        Raises:
            SettingsError: no shares between 0 and a half.
        """
        try:
            shares = tuple(float(share) for share in split_commas(self.held_out))
        except ValueError as error:
            raise SettingsError(f"held_out takes shares with commas between, not {self.held_out!r}") from error
        wrong = [share for share in shares if not 0 < share <= 0.5]
        if wrong:
            raise SettingsError(f"a share to hold out is above 0 and at most 0.5, not {wrong[0]}")
        return shares

    def training(self, model: str) -> TrainingSettings:
        """How each network is trained."""
        return TrainingSettings(
            model=model,
            epochs=self.epochs,
            batch_size=self.batch_size,
            optimizer=self.optimizer,
            learning_rate=self.learning_rate,
            schedule=self.schedule,
            weight_decay=self.weight_decay,
            augment=self.augment,
            checkpoint=self.checkpoint,
            dtype=self.dtype,
            device=self.device,
            seed=self.seed,
        )
