"""Declare every setting of an audit with its default, its choices and its text.

The command line makes its options from these dataclasses (`gwaudit.cli.options`), and `--help` shows the texts of their
`Attributes`: each text stands by itself. Nothing here imports torch, so that `--help` is fast.
"""

import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from numbers import Integral
from pathlib import Path
from types import NoneType
from typing import Any, Literal, Self, get_args, get_origin, get_type_hints

from gwaudit.core.caches import cache_folder
from gwaudit.core.errors import SettingsError
from gwaudit.core.urls import is_url, redacted

Augmentation = Literal["crop-flip", "shift-flip", "strong", "resized-crop", "randaugment", "crop", "none"]
UNMIRRORED: tuple[Augmentation, ...] = ("crop", "none")
"""The augmentations that mirror no image."""
Head = Literal["linear", "mlp", "trees"]
Alignment = Literal["head", "weight"]
ALIGNMENTS: Mapping[Alignment, str] = {
    "head": "the head's weight and bias",
    "weight": "the head's weight without its bias",
}
"""The parameters that the alignment is computed with, by the value of the setting `alignment`."""
OnError = Literal["stop", "skip"]
Fit = Literal["crop", "pad", "squash"]


def split_commas(text: str) -> list[str]:
    """Return the parts of a text that commas separate, without empty ones.

    Example:
        >>> split_commas("a, b,")
        ['a', 'b']
    """
    return [item.strip() for item in text.split(",") if item.strip()]


def require_choices(settings: Any) -> None:
    """Raise SettingsError if a field has a value of another type; make numbers of NumPy and paths plain ones."""
    for name, hint in get_type_hints(type(settings)).items():
        value, types = _plain(getattr(settings, name)), get_args(hint)
        object.__setattr__(settings, name, value)  # of a frozen dataclass
        _require_whole_or_text(name, value, types or (hint,))
        if NoneType in types and len(types) == 2:
            if value is None:
                continue
            hint = types[0]
        if get_origin(hint) is Literal and value not in get_args(hint):
            raise SettingsError(f"`{name}` must be one of {', '.join(get_args(hint))}, not {value!r}")


def require_settings(kind: type, name: str, value: Any) -> None:
    """Raise SettingsError unless an argument of this name is None, or holds settings of this kind."""
    if value is not None and not isinstance(value, kind):
        raise SettingsError(f"`{name}` must be gwaudit.{kind.__name__}(...), not {str(value)[:80]!r}")


def _is_pair_of_whole_numbers(value: Any) -> bool:
    """Return whether a value is a list or tuple of two whole numbers."""
    is_pair = isinstance(value, tuple | list) and len(value) == 2
    return is_pair and all(isinstance(number, Integral) and not isinstance(number, bool) for number in value)


def _plain(value: Any) -> Any:
    """Return a number or truth value of NumPy as one of Python, and a path as a text."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value.item() if hasattr(value, "dtype") and getattr(value, "ndim", None) == 0 else value


def _require_whole_or_text(name: str, value: Any, types: tuple[Any, ...]) -> None:
    """Raise SettingsError where a field that holds whole numbers has another number, or one of text no text."""
    allows_texts = any(each is str or get_origin(each) is Literal for each in types)
    if value is None and NoneType not in types and (int in types or str in types):
        raise SettingsError(f"`{name}` must not be None")
    is_whole = isinstance(value, Integral | str | NoneType) and not isinstance(value, bool)
    if int in types and float not in types and not is_whole:
        raise SettingsError(f"`{name}` must be a whole number, not {value!r}")
    if isinstance(value, str) and (int in types or float in types) and not allows_texts:
        raise SettingsError(f"`{name}` must be a number, not the text {value!r}")
    words = [word for each in types if get_origin(each) is Literal for word in get_args(each)]
    if isinstance(value, str) and (int in types or float in types) and str not in types and value not in words:
        raise SettingsError(f"`{name}` must be a number or {' or '.join(map(repr, words))}, not the text {value!r}")
    if set(types) <= {str, NoneType} and not isinstance(value, str | NoneType):
        hint = ": write several with commas in between" if isinstance(value, list | tuple) else ""
        raise SettingsError(f"`{name}` must be a text, not {value!r}{hint}")
    if types == (bool,) and not isinstance(value, bool):
        raise SettingsError(f"`{name}` must be True or False, not {value!r}")


def _existing_path(text: str) -> Path | None:
    """Return the path that a text is, or None where nothing exists there or the text cannot be a path."""
    try:
        return Path(text) if Path(text).exists() else None
    except (OSError, ValueError):  # too long for a name, or with a NUL
        return None


@dataclass(frozen=True)
class Resizing:
    """Describe how images are resized, as the pretrained weights of a network expect it.

    Attributes:
        interpolation: Name of the interpolation in Pillow, in lower case: `bicubic`, `bilinear`, ...
        crop_share: Share of each side of the square that is kept, at its centre, in (0, 1].
        side: Side in pixels of the images where the user asks for none.
        only_photos: Whether small images stay as they are read without these weights
            (`gwaudit.data.dataset.LabeledDataset.holds_photos`).
    """

    interpolation: str = "bicubic"
    crop_share: float = 1.0
    side: int | None = None
    only_photos: bool = False


DEFAULT_RESIZING = Resizing()
"""The resizing of images for a network without pretrained weights."""


@dataclass(frozen=True)
class DataSettings:
    """Describe the data to audit: a source, the names of its parts, and what to do with rows that cannot be used.

    `gwaudit.load_dataset` takes the same settings as keyword arguments, all but `also_split`, `encoder`,
    `add_noise` and `add_noise_seed`.

    Attributes:
        source: Data set to audit: `digits`; a folder (images with a folder a class, or beside a metadata.csv; Parquet
            or Arrow files in Hugging Face's layouts; CIFAR's original batches; WebDataset shards); a table (.csv, .tsv,
            .json, .jsonl, .parquet, .arrow) of image paths, texts or features; arrays (.npz, .npy); hf:NAME, a data
            set on the Hugging Face hub; or a folder or file at a URL of fsspec (s3://, gs://, az://, hf://, https://).
        labels: File with the given labels, in place of the source's own: a .csv with a column key, in any order; or
            row for row, a .npy, a .csv or CIFAR-N's .pt, whose clean labels become the true ones.
        label_key: Name of the labels to use in that file, such as `worse_label`.
        split: Split of the source to read.
        also_split: Another split, in which copies of the samples are searched and listed in `across_splits.csv`; or the
            path of another source of the same kind, with a `/` or a suffix. It is never trained on. Equal rows and
            texts are found, and images that are nearly equal if the backbone is frozen, else equal ones.
        image_size: Side in pixels of the square that images are resized to. By default the size that pretrained weights
            expect; without such weights images of one size of at most 96 pixels a side stay as they are, and others
            become 224.
        fit: Treatment of images that are not square: `squash` shows the whole image, distorted; `pad` shows the whole
            image, smaller and with a border; `crop` cuts off the ends of the longer side, with objects that lie there.
        on_error: What to do with rows that cannot be used (an unreadable image, an empty text, an unknown class, an
            empty key, a list of numbers with a NaN): `stop`, or `skip` them and list them. Rows without a label are
            always left out.
        label_column: Name of the table's column of labels. By default label, labels, category, class or another usual
            name. Several names, separated by commas: one column of 0 and 1 for each class (multi-label).
        label_separator: Text between the classes of one row, such as `|`, where labels are texts of several classes
            (multi-label).
        image_column: Name of the table's column of image paths or of encoded images.
        text_column: Name of the table's column of texts. Texts are embedded before the training.
        feature_columns: Name of the table's column of lists of numbers; or names of columns of numbers, categories
            or times, separated by commas. By default all such columns.
        id_column: Name of the table's column of sample keys.
        root: Folder that the paths in a table are relative to. By default the table's own folder.
        classes: All classes, in order: names separated by commas, or a text file with one name a line. By default the
            classes that the source names, else those that occur.
        encoder: Sentence encoder of texts: its folder, or its name on the Hugging Face hub.
        workers: Number of processes that read and augment photos ahead of the training; 0 does it in the training's own
            process. By default a process for each core but one; none for small images in memory, features and texts.
            The result does not depend on it.
        cache: Folder for decoded photos, which the next epoch, audit or report reads in place of the files. By default
            the folder that the environment variable `GWAUDIT_CACHE` names, else `gwaudit` in the user's cache folder.
        cache_limit: Largest size of this folder in GiB; the photos that were not used for longest give way. 0 keeps
            nothing. A GiB holds 7,000 photos of 224 pixels.
        add_noise: Share of the labels to change at random, in [0, 1), mostly between classes that look alike: exactly
            round(share * n) labels. The labels before the change count as the true ones. In multi-label data the
            share of the given labels to take away; as many wrong ones are added.
        add_noise_seed: Seed of these changes.
        resizing: Interpolation and central crop, which `audit` and `train` set to those of pretrained weights.
    """

    source: str
    labels: str | None = None
    label_key: str | None = None
    split: str = "train"
    also_split: str | None = None
    image_size: int | None = None
    fit: Fit = "squash"
    on_error: OnError = "stop"
    label_column: str | None = None
    label_separator: str | None = None
    image_column: str | None = None
    text_column: str | None = None
    feature_columns: str | None = None
    id_column: str | None = None
    root: str | None = None
    classes: str | None = None
    encoder: str = "sentence-transformers/all-MiniLM-L6-v2"
    workers: Literal["auto"] | int = "auto"
    cache: str | None = None
    cache_limit: float = 32.0
    add_noise: float = 0.0
    add_noise_seed: int = 0
    resizing: Resizing = field(default=DEFAULT_RESIZING, metadata={"options": ()})

    def __post_init__(self) -> None:
        require_choices(self)
        if self.label_separator == "":
            raise SettingsError("`label_separator` is empty: give the text between the classes of a row, such as '|'")
        if self.add_noise_seed < 0:
            raise SettingsError(f"`add_noise_seed` must be 0 or more, not {self.add_noise_seed}")
        if not 0 <= self.add_noise < 1:
            raise SettingsError(f"`add_noise` must be a share in [0, 1), not {self.add_noise}")
        if self.image_size is not None and self.image_size < 1:
            raise SettingsError(f"`image_size` must be at least 1 pixel, not {self.image_size}")
        if self.workers != "auto" and (isinstance(self.workers, str) or self.workers < 0):
            raise SettingsError(f"`workers` must be a number of processes, 0 or more, or 'auto', not {self.workers!r}")
        if not self.cache_limit >= 0:
            raise SettingsError(f"`cache_limit` must be a number of GiB, 0 or more, not {self.cache_limit}")
        cache_folder("images", self.cache)  # a URL is refused before anything is read

    @property
    def files_root(self) -> Path | None:
        """Return the folder that keys of samples are relative to, or None where the source has no folder."""
        path = Path(self.root or self.source)
        return path if path.is_dir() else path.parent if path.is_file() else None

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """Return the names in `classes` or in its file, or None where it is not set.

        Raises:
            SettingsError: The file cannot be read.
        """
        if self.classes is None:
            return None
        file = _existing_path(self.classes)
        if "\n" in self.classes:  # one name a line, as in a file
            lines = self.classes.splitlines()
        elif file is not None and file.is_file():
            try:
                lines = file.read_text(encoding="utf-8-sig").splitlines()
            except (OSError, UnicodeDecodeError) as error:
                raise SettingsError(f"{file} cannot be read as a list of classes: {error}") from error
        else:
            lines = self.classes.split(",")
        return tuple(name.strip() for name in lines if name.strip())

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON can hold them, with absolute paths, so that a run finds its data again."""
        values = {name: redacted(value) if is_url(value) else value for name, value in asdict(self).items()}
        for name in ("source", "labels", "root", "classes", "encoder", "cache"):
            # A folder in the working directory may be called digits too, but the name means scikit-learn's digits.
            if values[name] not in (None, "digits") and (path := _existing_path(values[name])) is not None:
                values[name] = str(path.resolve())
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the settings that `to_dict` gave, also under the names of earlier versions."""
        earlier = {"plant": "add_noise", "plant_seed": "add_noise_seed"}
        known = {earlier.get(name, name): value for name, value in values.items()}
        known.setdefault("fit", "crop")  # as all images were fitted before there was a choice
        return cls(**{**known, "resizing": Resizing(**known.get("resizing", {}))})


@dataclass(frozen=True)
class TrainingSettings:
    """Describe one training. The defaults suit a CPU: CIFAR-10 takes about ten minutes on two cores.

    Attributes:
        model: Network: a name of timm, or a network for small images (`resnet9_16`, `resnet18_small`, `resnet20_gn`,
            ...). By default `resnet9_16` for images of at most 96 pixels a side, and `tf_efficientnet_lite0` for
            photos, which are larger.
        epochs: Number of passes over the data. By default 30; for fewer than 29,700 images 17 to 27, or as many as
            400 steps need; for heads in folds 60, from 5,120 samples on fewer, and 30 on a frozen backbone.
        batch_size: Samples per batch, divided among the processes of a distributed training. By default 512, and
            smaller for fewer than 29,700 images: 16 for 300, 64 for 2,000, 128 for 10,000.
        optimizer: Optimizer by its name in timm (`sgd` and `nmuon` use Nesterov momentum; `adamw`, ...).
        momentum: Momentum in [0, 1), for optimizers that have one.
        schedule: Learning rate schedule: `onecycle` rises linearly over a quarter of the run, then falls to zero (Smith
            and Topin, 2018); `cosine` warms up over a twentieth, then follows a half cosine to zero.
        learning_rate: Peak learning rate. By default 0.2 for `sgd`, 0.001 for `adamw` and 0.02 for `nmuon`; less for
            fewer than 29,700 images, and a tenth of it for pretrained weights.
        weight_decay: Weight decay, not applied to biases and normalisation layers. By default 0.0005; that of
            cross-fitted heads is chosen with the head.
        augment: Augmentation of the images: `crop-flip` shifts each image and mirrors every second one, left to right;
            `shift-flip`, a smaller shift, mirrored in every other epoch; `strong`, the same, but 60 % of the images are
            shifted more, in other colours and with a hidden square; `resized-crop`, for photos, enlarges a random part
            of at least 35 % of an image, and mirrors too; so does `randaugment`. Where left and right make the class,
            choose `crop`, which only shifts, or `none`.
        label_smoothing: Label smoothing of the loss, in [0, 1). By default 0, and 0.2 for fewer than 29,700 images with
            one label each.
        balance: Treatment of classes of unequal size: `loss` weights each sample by the inverse of its class size;
            `sampling` draws equally often from each class, so that an epoch repeats some samples and omits others. On
            features both find fewer wrong labels than `none`.
        accumulate: Number of batches per optimizer step.
        clip_norm: Largest L2 norm of the gradient of a step. By default 1 for fewer than 29,700 images; other gradients
            are not clipped.
        ema_decay: Decay of an exponential moving average of the weights, which the checkpoints then hold. By default
            there is no average.
        record: Time of recording: `online`, each sample at its own training step; or `pass`, all samples after each
            epoch under fixed weights, without augmentation.
        final_passes: Number of evaluation passes over all samples after the training, under its final weights and
            without augmentation: 0, 1 (as they are) or 2 (also mirrored). Each is recorded as an epoch of the run.
        select: Rule that selects the epoch kept as `checkpoints/best.safetensors`, without validation data. The rules
            `validation` and `gradient-disparity` read signals that only a training loop of your own can measure.
        patience: Number of epochs after which training stops if the selected epoch has not changed. By default training
            does not stop early.
        dtype: Number format of the forward and backward pass; `auto` is bfloat16 on machines that are fast at it.
            With a network of timm, a step is timed in both; heads on features are computed in float32.
        device: Device: `cpu`, `cuda`, ..., or `auto`.
        seed: Seed of everything random.
        pretrained: Start from the pretrained weights of timm, which timm downloads. By default only on photos, with
            networks that have such weights.
        checkpoint: File with the weights to start from.
        backbone: Training of the backbone: `trained`; or `frozen`, whose features are computed once and kept, and only
            the head is trained. By default `frozen` on photos with pretrained weights or a file of weights.
        views: Number of views of an image that a frozen backbone sees, whose features are averaged: 1, as it is; or 2,
            also mirrored, which finds more wrong labels and takes twice as long. Choose 1 where left and right make the
            class.
        head: Network that is trained on features, texts or a frozen backbone: `linear`; `mlp` with one hidden layer; or
            `trees`, linear on log odds of trees (for tables). By default the one that predicts held-out given labels
            best.
        folds: Number of folds of features, texts or the features of a frozen backbone. A head for each fold is trained,
            all at once, and each sample is recorded with the head that did not learn it. By default 10; for n samples,
            more than 20,000, 200,000 / n, and at least 2. With 1 a single head learns and records all of them.
        fold_repeats: Number of times that the samples are divided into folds, each with its own heads; the epochs are
            recorded with each in turn. By default 6 for up to 500 samples, 3,000 / n for n samples up to 1,500, and 1
            for more.
        reweighting: Whether the heads of folds learn each label with the probability that it is right, as the epochs so
            far say: after half and after three quarters of the epochs it is estimated. By default yes; multi-label
            samples have no such weights.
        latents: Features that the run keeps, to show the nearest neighbours of suspects: `auto`, those of a frozen
            backbone; `keep`, also those of a trained network, of features and texts; `none`. At most 100,000 samples.
        alignment: Parameters of the last layer that the alignment is computed with: `head`, its weight and bias; or
            `weight`, its weight only, as in the papers on gradient-weight alignment.
    """

    model: Literal["auto"] | str = "auto"
    epochs: Literal["auto"] | int = "auto"
    batch_size: Literal["auto"] | int = "auto"
    optimizer: str = "sgd"
    momentum: float = 0.9
    schedule: Literal["onecycle", "cosine"] = "onecycle"
    learning_rate: Literal["auto"] | float = "auto"
    weight_decay: Literal["auto"] | float = "auto"
    augment: Augmentation = "crop-flip"
    label_smoothing: Literal["auto"] | float = "auto"
    balance: Literal["none", "loss", "sampling"] = "none"
    accumulate: int = 1
    clip_norm: Literal["auto"] | float | None = "auto"
    ema_decay: float | None = None
    record: Literal["online", "pass"] = "online"
    final_passes: int = 0
    select: str = "last"
    patience: int | None = None
    dtype: Literal["auto", "bfloat16", "float32"] = "auto"
    device: str = "auto"
    seed: int = 0
    pretrained: Literal["auto"] | bool = "auto"
    checkpoint: str | None = None
    backbone: Literal["auto", "trained", "frozen"] = "auto"
    views: int = 1
    head: Literal["auto", "linear", "mlp", "trees"] = "auto"
    folds: Literal["auto"] | int = "auto"
    fold_repeats: Literal["auto"] | int = "auto"
    reweighting: Literal["auto"] | bool = "auto"
    latents: Literal["auto", "keep", "none"] = "auto"
    alignment: Alignment = "head"

    def __post_init__(self) -> None:
        require_choices(self)
        for name in ("epochs", "batch_size", "accumulate", "folds", "fold_repeats"):
            if (value := getattr(self, name)) != "auto" and (isinstance(value, str) or value < 1):
                raise SettingsError(f"`{name}` must be at least 1, not {value!r}")
        if self.views not in (1, 2):
            raise SettingsError(f"`views` must be 1 or 2, not {self.views}")
        if self.final_passes not in (0, 1, 2):
            raise SettingsError(f"`final_passes` must be 0, 1 or 2, not {self.final_passes}")
        if not 0 <= self.momentum < 1:
            raise SettingsError(f"`momentum` must be in [0, 1), not {self.momentum}")
        if self.learning_rate != "auto" and not self.learning_rate > 0:
            raise SettingsError(f"`learning_rate` must be above 0, not {self.learning_rate}")
        if self.weight_decay != "auto" and not self.weight_decay >= 0:
            raise SettingsError(f"`weight_decay` must be 0 or more, not {self.weight_decay}")
        if self.label_smoothing != "auto" and not 0 <= self.label_smoothing < 1:
            raise SettingsError(f"`label_smoothing` must be in [0, 1), not {self.label_smoothing}")
        if self.clip_norm != "auto" and self.clip_norm is not None and not self.clip_norm > 0:
            raise SettingsError(f"`clip_norm` must be above 0, not {self.clip_norm}")
        if self.patience is not None and (self.patience < 1 or self.select == "last"):
            raise SettingsError("`patience` must be at least 1, and needs a rule (`select`) other than 'last'")

    @property
    def mirrors(self) -> bool:
        """Return whether a training that is `resolved` mirrors some of its images."""
        return self.augment not in UNMIRRORED and self.backbone == "trained"

    @property
    def mirrors_views(self) -> bool:
        """Return whether a frozen backbone of a training that is `resolved` also sees mirrored images."""
        return self.views == 2 and self.backbone == "frozen"

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON can hold them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the settings that `to_dict` wrote."""
        unknown = set(values) - {f.name for f in fields(cls)}
        if unknown:
            raise SettingsError(f"unknown training setting {sorted(unknown)[0]!r}")
        # Before there was a choice, all alignments were computed with the weight only, and folds were made once.
        return cls(**{"alignment": "weight", "fold_repeats": 1, "reweighting": False, **values})


@dataclass(frozen=True)
class ResolvedTrainingSettings(TrainingSettings):
    """Describe one training without any "auto" that depends on the data; the defaults are those of 50,000 images.

    Only the head of a cross-fitted training, its weight decay and the number format can still be open.
    """

    model: str = "resnet9_16"
    epochs: int = 30
    batch_size: int = 512
    learning_rate: float = 0.2
    label_smoothing: float = 0.0
    clip_norm: float | None = None
    dtype: Literal["auto", "bfloat16", "float32"] = "auto"
    pretrained: bool = False
    backbone: Literal["trained", "frozen"] = "trained"
    weight_decay: Literal["auto"] | float = 5e-4
    head: Literal["auto", "linear", "mlp", "trees"] = "linear"
    folds: int = 1
    fold_repeats: int = 1
    reweighting: bool = False


@dataclass(frozen=True)
class RankingSettings:
    """Describe how to rank a recorded run and how many samples to flag.

    In Python `window` and `cut` are "auto" or a value, and `window` counts epochs from 0.

    Attributes:
        detector: Detector that ranks the samples. `auto` is `probability` for runs with final evaluation passes and
            `combined` for others.
        window: First and last epoch of the means and votes, both included. By default the last half of the epochs.
            Detectors that read whole trajectories, such as `aum`, always rank by all epochs.
        cut: Threshold on the log odds of being wrong (natural logarithm; 0 is even): suspects lie above it. By default
            the cut with the highest expected F1.
        top: Number of samples to flag, the most suspicious ones, independent of their odds.
        precision: Share of the suspects that is expected to be wrong, in (0, 1]: as many samples are flagged as it
            allows.
        budget: Largest number of samples to flag, the most suspicious ones. It combines with the other options.
        per_class: Fit the distributions of right and wrong labels for each given class, small classes towards all.
            It changes nothing where heads are trained in folds. `probability` always fits each pair of given and
            suggested class, and multi-label runs each class.
        force: Flag by the fitted cut and write cleaned data, at any verdict on the run.
    """

    detector: str = "auto"
    window: Literal["auto"] | tuple[int, int] = "auto"
    cut: Literal["auto"] | float = "auto"
    top: int | None = None
    precision: float | None = None
    budget: int | None = None
    per_class: bool = False
    force: bool = False

    def __post_init__(self) -> None:
        require_choices(self)
        for name in ("top", "budget"):
            count = getattr(self, name)
            if count is not None and count < 0:
                raise SettingsError(f"`{name}` must be at least 0, not {count}")
        if self.precision is not None and not 0 < self.precision <= 1:
            raise SettingsError(f"`precision` must be in (0, 1], not {self.precision}")
        if sum([self.cut != "auto", self.top is not None, self.precision is not None]) > 1:
            raise SettingsError(
                "`cut`, `top` and `precision` each set the number of suspects: choose one (`budget` combines with any)"
            )
        if isinstance(self.cut, str) and self.cut != "auto":
            raise SettingsError(f"`cut` must be 'auto' or a number, not {self.cut!r}")
        if not isinstance(self.cut, str) and math.isnan(self.cut):
            raise SettingsError("`cut` must be a number: no log odds lie above NaN")
        if self.window != "auto":
            if not _is_pair_of_whole_numbers(self.window):
                raise SettingsError(f"`window` must be 'auto' or the first and the last epoch, not {self.window!r}")
            first, last = self.window
            if first < 0:
                raise SettingsError("`window` begins before the first epoch")
            if first > last:
                raise SettingsError("`window` begins after its last epoch: give the first epoch, then the last one")
