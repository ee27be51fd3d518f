"""Choose the settings of a training that depend on the number of images, where the user gives none.

With the batches of a large data set a network takes too few steps to learn few images, and with its learning rate
these steps diverge. Without label smoothing and clipped gradients it soon fits the wrong labels of few images.
docs/benchmarks/small-data.md has the measurements.

Heads on features are cross-fitted, with as few folds as their number of samples allows: see
`gwaudit.training.fold_heads`.
"""

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from gwaudit.analysis.verdict_checks import FEW_PHOTOS, is_photo
from gwaudit.core.errors import SettingsError
from gwaudit.core.settings import ResolvedTrainingSettings, TrainingSettings
from gwaudit.data.dataset import LabeledDataset
from gwaudit.data.fitting import are_photos
from gwaudit.store.store import TrajectoryStore
from gwaudit.training.starting_weights import with_starting_weights

AUTOMATIC = tuple(ResolvedTrainingSettings.__annotations__)
"""Names of the settings whose "auto" depends on the data."""

_OF_IMAGES = ("batch_size", "epochs", "learning_rate", "label_smoothing", "clip_norm")
_LARGE = ResolvedTrainingSettings()  # of 50,000 images
_N_LARGE = 50_000
_SMALLEST_BATCH = 16
_FEWEST_UPDATES = 400
_LABEL_SMOOTHING, _CLIP_NORM = 0.2, 1.0
_FINE_TUNING = 0.1  # trained weights need smaller steps
_MOST_FOLDS, _LEAST_FOLDS, _IN_FOLDS = 10, 2, 200_000  # folds, and samples of all heads in an epoch
_MOST_REPEATS, _REPEATED = 6, 6000  # repeats of the folds, and samples in all of them
_FOLD_BATCH = (16, 512)  # smallest and largest, of a tenth of the samples
_FOLD_EPOCHS, _FOLD_UPDATES = (30, 60), 600  # fewest and most, and updates of the optimizer
_FOLD_RATE = 0.1
_RATES = {"muon": 0.02, "adam": 1e-3, "sgd": _LARGE.learning_rate, "momentum": _LARGE.learning_rate}


def resolve(
    settings: TrainingSettings, n_samples: int, modality: str, *, multi_label: bool = False, photos: bool = False
) -> ResolvedTrainingSettings:
    """Return the settings of a training with a value in place of every "auto" that depends on the data.

    Model and weights are those of `gwaudit.training.starting_weights.with_starting_weights`.

    For n images the batch size B is 512 (n / 50,000)^(2/3), rounded to a power of two, and at least 16. There are
    30 (B / 512)^(1/6) epochs, and more where these have fewer than 400 updates. The learning rate is that of 50,000
    images times (B / 512)^(4/5). Where B is below 512 (fewer than 29,700 images) the norm of the gradient is clipped at
    1, and labels are smoothed by 0.2, unless there are several for each image.

    Cross-fitted heads get batches of a tenth of the samples, from 16 to 512, the learning rate 0.1, and epochs for 600
    updates, from 30 (10,240 samples and more) to 60 (5,120 and fewer); those on the many features of a backbone, which
    overfit sooner, 30. Which head, and its weight decay, stay open ("auto"): they are chosen when the features are
    there.

    Args:
        settings: The settings as the user gives them; what they set stays.
        n_samples: Number of samples n.
        modality: Modality of the data: images, features or texts.
        multi_label: Whether a sample may have several labels.
        photos: Whether the images are photos (`LabeledDataset.holds_photos`).

    Raises:
        SettingsError: A pretrained backbone is asked for and the samples are not images; a network is to learn images
            in batches of one; the learning rate is "auto", and the optimizer has no default here; folds are asked for
            where there is no head on features, or there are too few samples for them; trees without folds; or
            `reweighting` for multi-label samples.

    Example:
        >>> few = resolve(TrainingSettings(), 600, "images")
        >>> few.batch_size, few.epochs, few.learning_rate
        (32, 22, 0.022)
    """
    settings = with_starting_weights(settings, modality, photos=photos)
    learns_images = modality == "images" and settings.backbone == "trained"
    if learns_images and settings.batch_size == 1:
        raise SettingsError("`batch_size` is 1, but batch normalization needs at least 2 images in a batch")
    n = n_samples if learns_images else _N_LARGE
    batch = _batch_size(n)
    scale = batch / _LARGE.batch_size
    given = {name: value for name, value in settings.to_dict().items() if name not in AUTOMATIC or value != "auto"}
    folds = _folds(settings, n_samples, crosses=not learns_images)
    if given.get("reweighting") and multi_label:
        raise SettingsError("`reweighting` is for samples of one class each: leave it out")
    if folds > 1:
        fewest, most = _FOLD_EPOCHS
        batch = given.get("batch_size", min(max(_FOLD_BATCH[0], n_samples // 10), _FOLD_BATCH[1]))
        epochs = math.ceil(_FOLD_UPDATES * batch * settings.accumulate / n_samples)
        of_folds = {
            "folds": folds,
            "fold_repeats": max(1, min(_MOST_REPEATS, _REPEATED // n_samples)),
            "batch_size": batch,
            "epochs": fewest if modality == "images" else min(max(fewest, epochs), most),
            "learning_rate": _rate(settings.optimizer) * _FOLD_RATE / _LARGE.learning_rate,
            "weight_decay": "auto",
            "head": "auto",
            "reweighting": not multi_label,
        }
        return ResolvedTrainingSettings.from_dict(of_folds | given)
    if given.get("fold_repeats", 1) > 1:
        raise SettingsError(f"`fold_repeats` is {settings.fold_repeats}, but this training has no folds: leave it out")
    if given.get("head") == "trees" and not learns_images:
        raise SettingsError(
            "`head='trees'` is for training with folds, which this one has not: leave out `folds`, or choose another "
            f"`head` (of {n_samples:,} samples, and at least 8 have folds)"
        )
    if given.get("reweighting"):
        raise SettingsError("`reweighting` is for training with folds, which this one has not: leave it out")
    updates = math.ceil(n / (given.get("batch_size", batch) * settings.accumulate))
    chosen = {
        "batch_size": batch,
        "epochs": max(round(_LARGE.epochs * scale ** (1 / 6)), math.ceil(_FEWEST_UPDATES / updates)),
        "label_smoothing": _LABEL_SMOOTHING if scale < 1 and not multi_label else _LARGE.label_smoothing,
        "clip_norm": _CLIP_NORM if scale < 1 else _LARGE.clip_norm,
    }
    if "learning_rate" not in given:
        is_trained = learns_images and (settings.pretrained or settings.checkpoint is not None)
        rate = _rate(settings.optimizer) * scale ** (4 / 5) * (_FINE_TUNING if is_trained else 1)
        chosen["learning_rate"] = float(f"{rate:.2g}")
    return ResolvedTrainingSettings.from_dict(chosen | given)


def _folds(settings: TrainingSettings, n_samples: int, *, crosses: bool) -> int:
    """Return the number of folds of a training on n samples, which may have folds (`crosses`) or not."""
    if not crosses:
        if settings.folds not in ("auto", 1):
            raise SettingsError(
                f"`folds` is {settings.folds}, but folds are for heads on features (a table, arrays, texts, a frozen "
                "backbone): leave `folds` out"
            )
        return 1
    if settings.folds == "auto":
        of_many = max(_LEAST_FOLDS, _IN_FOLDS // n_samples)
        return max(1, min(_MOST_FOLDS, n_samples // 4, of_many))
    if settings.folds > 1 and n_samples < 2 * settings.folds:
        raise SettingsError(f"`folds` is {settings.folds}, too many for {n_samples} samples: at most {n_samples // 2}")
    return settings.folds


def resolve_for(dataset: LabeledDataset, settings: TrainingSettings) -> ResolvedTrainingSettings:
    """Return the settings of a training on a data set with a value in place of every "auto" that depends on it.

    Raises:
        SettingsError: As for `resolve`.
    """
    return resolve(
        settings,
        len(dataset),
        dataset.modality,
        multi_label=dataset.is_multi_label,
        photos=dataset.holds_photos,
    )


def as_typed(
    settings: ResolvedTrainingSettings,
    n_samples: int,
    modality: str,
    *,
    multi_label: bool,
    photos: bool,
    tried: Sequence[Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """Return the settings of a training by name, with "auto" where the data, or the choice of a head, gives the value.

    Args:
        settings: The settings of a run.
        n_samples, modality, multi_label, photos: As for `resolve`.
        tried: The heads that the run tried, with their `head` and `weight_decay`; None where the user set both.
    """
    typed = settings.to_dict()
    for name in AUTOMATIC:
        trial = TrainingSettings.from_dict({**typed, name: "auto"})
        with suppress(SettingsError):  # some optimizers have no default learning rate
            chosen = getattr(resolve(trial, n_samples, modality, multi_label=multi_label, photos=photos), name)
            was_tried = len({head.get(name) for head in tried or ()}) > 1
            if chosen == typed[name] or (chosen == "auto" and was_tried):
                typed[name] = "auto"
    return typed


def ran_on_photos(store: TrajectoryStore) -> bool:
    """Return whether the samples of a run are photos, as `LabeledDataset.holds_photos` has it."""
    shape: list[int] = store.settings.get("input_shape") or []
    reading: dict[str, Any] = store.settings.get("reading") or {}
    if len(shape) != 3 or shape[0] not in (1, 3):
        return False
    sizes = reading.get("notes", {}).get("image_sizes", [])
    return are_photos([(int(width), int(height)) for width, height in sizes], max(shape[1:]))


def _batch_size(n: int) -> int:
    """Return the power of two nearest to 512 (n / 50,000)^(2/3), from 16 to 512."""
    ideal = _LARGE.batch_size * min(1.0, n / _N_LARGE) ** (2 / 3)
    return max(_SMALLEST_BATCH, 1 << max(0, round(math.log2(ideal))))


def _rate(optimizer: str) -> float:
    """Return the learning rate of an optimizer of timm for 50,000 images."""
    family = next((family for family in _RATES if family in optimizer), None)
    if family is None:
        raise SettingsError(
            f"the optimizer {optimizer!r} has no default learning rate: set `learning_rate`, or look for its name in "
            "timm.optim.list_optimizers()"
        )
    return _RATES[family]


def as_recorded(settings: TrainingSettings, run: Path, names: Sequence[str] = AUTOMATIC) -> TrainingSettings:
    """Return settings with the values of a run in place of every "auto" that depends on the data.

    Without a run in the folder the settings stay as they are.

    Args:
        settings: The settings.
        run: Folder of the run.
        names: The settings that may be replaced.

    Raises:
        StoreError: The run cannot be read.
    """
    if not (run / "run.json").exists():
        return settings
    with TrajectoryStore.open(run) as store:
        recorded = store.settings.get("training") or {}
    kept = {name: recorded[name] for name in names if name in recorded and getattr(settings, name) == "auto"}
    return replace(settings, **kept)


def describe_automatic(given: TrainingSettings, resolved: ResolvedTrainingSettings, n_images: int) -> str:
    """Return a sentence with the settings that `resolve` chose for images; empty where the user set all of them."""
    chosen = [
        f"`{name}={getattr(resolved, name):g}`"
        for name in _OF_IMAGES
        if getattr(given, name) == "auto" and getattr(resolved, name) is not None
    ]
    return f"the training of {n_images:,} images has {', '.join(chosen)}" if chosen else ""


def advise_against_scratch(settings: ResolvedTrainingSettings, n_images: int, shape: tuple[int, ...]) -> str:
    """Return a warning where a network is to learn few photos from random weights; otherwise an empty text.

    Args:
        settings: The settings of the training.
        n_images: Number of images.
        shape: Shape of an image, (C, H, W).
    """
    is_pretrained = settings.pretrained or settings.checkpoint is not None
    if n_images >= FEW_PHOTOS or not is_photo(shape) or is_pretrained:
        return ""
    return (
        f"{n_images:,} photos are too few to train a network from random weights: it misses many wrong labels, and its "
        "suspects change with the seed. Use pretrained weights: `preset='pretrained'`, or a file of weights "
        "(`checkpoint`)"
    )
