"""Hold the settings of the stopping benchmark: its defaults in one place, free of torch."""

from dataclasses import dataclass, field

from gwaudit.core.errors import SettingsError
from gwaudit.core.settings import ResolvedTrainingSettings, split_commas

TRAINING_OPTIONS = (
    "epochs", "batch_size", "optimizer", "learning_rate", "schedule", "weight_decay", "augment", "checkpoint", "dtype",
    "device", "seed",
)  # fmt: skip
"""The training settings that the command line offers; the others keep their values."""


@dataclass(frozen=True)
class StoppingSettings:
    """Describe what to compare stopping rules on.

    The defaults make a network fit wrong labels within the run: few samples, no augmentation, no weight decay.

    Attributes:
        label_variants: Label variants, separated by commas: clean, symmetric-40, asymmetric-30, long-tail-10 (any
            percentage), keys of the label file.
        models: Names of networks, separated by commas, each trained on each label variant.
        samples: Number of training samples, drawn at random; 0 for all.
        test_samples: Number of test images, drawn at random; 0 for all.
        test: Source of the test images. By default the split "test" of the source; if there is none, a fifth of the
            data, taken out before the samples are drawn.
        corrupted: Folder with the .npy files of CIFAR-10-C; "made" to make corrupted images with a library; or "none".
        held_out: Shares of the samples to keep out for validation, separated by commas, one training for each.
        patience: Number of epochs after which a rule stops if its selected epoch has not changed.
        memorisation: Number of networks to train on random seven tenths of the samples, which measure memorisation; 0
            for none.
        disparity_batch: Samples of each of the five batches that gradient disparity is measured with; 0 for none.
        training: Settings of every training; `model` is replaced by each of `models`.
    """

    label_variants: str = "clean"
    models: str = "resnet9_16"
    samples: int = 10_000
    test_samples: int = 0
    test: str | None = None
    corrupted: str = "made"
    held_out: str = "0.1,0.01"
    patience: int = 5
    memorisation: int = 0
    disparity_batch: int = 128
    training: ResolvedTrainingSettings = field(
        default=ResolvedTrainingSettings(
            batch_size=128,
            learning_rate=0.02,
            schedule="cosine",
            weight_decay=0.0,
            augment="none",
            alignment="weight",  # as the papers whose claims are checked
        ),
        metadata={"options": TRAINING_OPTIONS},
    )

    def __post_init__(self) -> None:
        for name in ("samples", "test_samples", "memorisation", "disparity_batch"):
            if getattr(self, name) < 0:
                raise SettingsError(f"`{name}` must not be negative: {getattr(self, name)}")
        for name in ("label_variants", "models"):
            if not split_commas(getattr(self, name)):
                raise SettingsError(f"`{name}` names nothing: give at least one")
        if self.training.checkpoint is not None and len(split_commas(self.models)) > 1:
            raise SettingsError("a checkpoint is of one network: give one of `models` with it")
        if self.patience < 1:
            raise SettingsError(f"`patience` must be at least 1 epoch, not {self.patience}")
        if self.memorisation == 1:
            raise SettingsError(
                "`memorisation` compares networks with and without a sample: give the number of networks, at least 2, "
                "or 0"
            )
        if self.training.epochs < 3:
            raise SettingsError(f"a stopping rule needs at least 3 epochs to select from, not {self.training.epochs}")
        _ = self.held_out_shares

    @property
    def held_out_shares(self) -> tuple[float, ...]:
        """Return the shares to hold out as numbers.

        Raises:
            SettingsError: They are not above 0 and at most 0.5.
        """
        try:
            shares = tuple(float(share) for share in split_commas(self.held_out))
        except ValueError as error:
            raise SettingsError(f"`held_out` takes shares separated by commas, not {self.held_out!r}") from error
        wrong = [share for share in shares if not 0 < share <= 0.5]
        if wrong:
            raise SettingsError(f"a share to hold out must be above 0 and at most 0.5, not {wrong[0]}")
        return shares
