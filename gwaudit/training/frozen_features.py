"""Compute the features of a frozen backbone once, and cache them: of images by a timm model, of texts by an encoder.

The result is the same data set, with the same ids, keys and labels, and features [D] as inputs: a head is trained on
them in seconds. The cache key is a checksum of the inputs and of the backbone's weights. The cache lies in the folder
that the environment variable `GWAUDIT_CACHE` names, by default `gwaudit` in the user's cache folder.
"""

import hashlib
from collections.abc import Callable, Container
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gwaudit.core.allocators import reusing_freed_memory
from gwaudit.core.caches import cache_folder
from gwaudit.core.errors import DataError, MissingExtraError, ModelError, SettingsError, StoreError
from gwaudit.core.files import write_atomically
from gwaudit.core.hub import only_cached_if_unreachable
from gwaudit.core.settings import TrainingSettings
from gwaudit.data.dataset import LabeledDataset
from gwaudit.data.encoded_images import known_checksums
from gwaudit.data.inputs import features
from gwaudit.data.workers import read_batches
from gwaudit.training.augmentation import normalise
from gwaudit.training.automatic_settings import resolve_for
from gwaudit.training.device import MEASURED_IMAGES, DtypeChoice, autocast, measure_dtype, resolve_device
from gwaudit.training.preprocessing import Preprocessing, preprocessing_of
from gwaudit.training.progress import FeatureProgress
from gwaudit.training.starting_weights import build_start

_TEXTS_PER_BATCH = 256


def extract_features(
    dataset: LabeledDataset,
    settings: TrainingSettings,
    progress: FeatureProgress | None = None,
    preprocessing: Preprocessing | None = None,
) -> LabeledDataset:
    """Replace images by their features: the latents of the settings' model, the mean of `views`, without augmentation.

    Args:
        dataset: A data set of images.
        settings: `model`, and the source of its weights, `pretrained` or `checkpoint`; `batch_size`, `dtype` and
            `device` of the computation.
        progress: Receives the number of samples done.
        preprocessing: Mean and standard deviation; by default those of `preprocessing_of`.

    Returns:
        The data set with features [D] as inputs.

    Raises:
        SettingsError: The model would have random weights.
        ModelError: The model cannot be built, does not fit the images, or has no latents.
    """
    return FrozenBackbone(dataset, settings, preprocessing).extract(dataset, progress)


class FrozenBackbone:
    """Hold a network with trained weights that computes features of images.

    Args:
        dataset: A data set of images, for their size and the number of classes.
        settings: As for `extract_features`.
        preprocessing: Mean and standard deviation; by default those of `preprocessing_of`.

    Raises:
        SettingsError: The model would have random weights.
        ModelError: The model cannot be built, does not fit the images, or has no latents.
    """

    def __init__(
        self, dataset: LabeledDataset, settings: TrainingSettings, preprocessing: Preprocessing | None = None
    ) -> None:
        self.settings = settings = resolve_for(dataset, settings)
        if not settings.pretrained and settings.checkpoint is None:
            raise SettingsError(
                "a frozen backbone needs trained weights: use timm's with `pretrained`, or name a file of weights with "
                "`checkpoint`"
            )
        model = build_start(settings, len(dataset.class_names), dataset.input_shape).eval()
        if not (hasattr(model, "forward_features") and hasattr(model, "forward_head")):
            raise ModelError(
                f"model {settings.model!r} has no forward_features and forward_head, so its latents are not known: "
                "choose another timm model"
            )
        self.device = resolve_device(settings.device)
        self.preprocessing = preprocessing or preprocessing_of(dataset, settings)
        self.model = model.to(self.device).to(memory_format=torch.channels_last)

    def measure_dtype(self, dataset: LabeledDataset) -> DtypeChoice:
        """Choose the number format of the features by the time of a step on some of the images."""
        n = MEASURED_IMAGES if self.device.type == "cpu" else max(self.settings.batch_size, MEASURED_IMAGES)
        ids = torch.arange(n) % len(dataset)
        return measure_dtype(self.model, self._prepare(dataset.read(ids)), trains=False)

    @reusing_freed_memory()
    def extract(
        self, dataset: LabeledDataset, progress: FeatureProgress | None = None, dtype: str | None = None
    ) -> LabeledDataset:
        """Replace images by their features.

        Args:
            dataset: The images.
            progress: Receives the number of samples done.
            dtype: Number format of the computation; by default that of the settings.
        """
        settings, prepared = self.settings, self.preprocessing
        dtype = dtype or settings.dtype
        batches = torch.split(torch.arange(len(dataset)), settings.batch_size)

        def compute() -> Tensor:
            latents: list[Tensor] = []
            pinned = self.device.type == "cuda"
            with torch.no_grad(), autocast(dtype, self.device):
                for ids, images in zip(batches, read_batches(dataset, batches, pin_memory=pinned), strict=True):
                    views = (images, images.flip(3))[: settings.views]
                    seen = [_latent(self.model, self._prepare(view)).float().cpu() for view in views]
                    latents.append(torch.stack(seen).mean(0))
                    if progress is not None:
                        progress.on_features(int(ids[-1]) + 1, len(dataset))
            return torch.cat(latents)

        mirrored = " also mirrored" if settings.views == 2 else ""
        described = f"{settings.model} {dtype} {prepared.mean} {prepared.std}{mirrored}"
        digest = _digest_of_model(self.model, described, without=_names_in_head(self.model))
        # The pixels, not the data set's fingerprint, which uses only the file lengths of images that are read on
        # demand. Photos are not read for it: their pixels have checksums since they were decoded.
        if checksums := known_checksums(dataset.inputs):
            digest.update(repr(dataset.input_shape).encode() + checksums)
        else:
            for images in read_batches(dataset, batches):
                digest.update(images.numpy().tobytes())
        return _with_features(dataset, digest, compute)

    def _prepare(self, images: Tensor) -> Tensor:
        """Return images on the device, normalised."""
        centre = torch.tensor(self.preprocessing.mean).to(self.device)
        scale = torch.tensor(self.preprocessing.std).to(self.device)
        normal = normalise(images.to(self.device, non_blocking=True), centre, scale)
        return normal.contiguous(memory_format=torch.channels_last)


def embed_texts(dataset: LabeledDataset, encoder: str, progress: FeatureProgress | None = None) -> LabeledDataset:
    """Replace texts by their embeddings.

    Args:
        dataset: A data set of texts.
        encoder: A folder with a sentence encoder or any Hugging Face model (whose token vectors are averaged), or the
            name of one on the hub. It is loaded with sentence-transformers (the extra `text`).
        progress: Receives the number of samples done.

    Returns:
        The data set with features [D] as inputs; its texts are kept beside them.

    Raises:
        MissingExtraError: sentence-transformers is not installed.
        DataError: The data set does not hold texts.
        ModelError: The encoder cannot be loaded.
    """
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise MissingExtraError("embedding texts", "text") from error
    if dataset.texts is None or dataset.modality != "texts":
        raise DataError(f"{dataset.name} holds {dataset.modality}, not texts")
    texts = list(dataset.texts)
    try:
        with nullcontext("") if Path(encoder).is_dir() else only_cached_if_unreachable() as unreachable:
            model = SentenceTransformer(encoder)
    except Exception as error:  # the library, the hub and the file raise errors of many kinds
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        if unreachable and isinstance(error, OSError):
            reason = (
                f"{unreachable}, and it was not downloaded before: connect to the network, or name the folder of one"
            )
        raise ModelError(f"the encoder {encoder!r} cannot be loaded: {reason}") from error

    def compute() -> Tensor:
        batches: list[Tensor] = []
        for start in range(0, len(texts), _TEXTS_PER_BATCH):
            batch = texts[start : start + _TEXTS_PER_BATCH]
            batches.append(torch.from_numpy(np.asarray(model.encode(batch, show_progress_bar=False), np.float32)))
            if progress is not None:
                progress.on_features(start + len(batch), len(texts))
        return torch.cat(batches)

    digest = _digest_of_model(model, repr(model.max_seq_length))
    dataset.inputs.add_to(digest)
    return _with_features(dataset, digest, compute)


def _names_in_head(model: Any) -> set[str]:
    """Return the names of the weights of the head, which is drawn anew where the trained one has other classes."""
    head = model.get_classifier()
    ids = {id(values) for values in head.parameters()}
    return {name for name, values in model.named_parameters() if id(values) in ids}


def _digest_of_model(model: nn.Module, settings: str, without: Container[str] = ()) -> Any:
    """Return a checksum of the settings and of every weight, of any dtype, but of those with some names."""
    digest = hashlib.sha256(settings.encode())
    for name, values in model.state_dict().items():
        if name in without:
            continue
        digest.update(name.encode())
        digest.update(values.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest


def _latent(model: nn.Module, images: Tensor) -> Tensor:
    latent: Any = model.forward_head(model.forward_features(images), pre_logits=True)  # type: ignore[operator]  # timm's
    if not isinstance(latent, Tensor) or latent.ndim != 2:
        raise ModelError(
            f"the latents of {type(model).__name__} do not have the shape [batch, features]: choose another model"
        )
    return latent


def _with_features(dataset: LabeledDataset, digest: Any, compute: Callable[[], Tensor]) -> LabeledDataset:
    path = cache_folder("latents") / f"{digest.hexdigest()[:32]}.npy"
    values = _load_cached(path, len(dataset))
    if values is None:
        values = compute()
        bad = torch.nonzero(~torch.isfinite(values).all(1))
        if len(bad):
            key = dataset.keys[int(bad[0])]
            raise ModelError(
                f"the features of {len(bad)} samples are NaN or infinite, the first is {key}: use `dtype='float32'`"
            )
        _save_to_cache(path, values)
    return replace(dataset, inputs=features(values))


def _load_cached(path: Path, n: int) -> Tensor | None:
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None  # missing or damaged: the features are computed again
    return torch.from_numpy(values) if values.ndim == 2 and len(values) == n else None


def _save_to_cache(path: Path, values: Tensor) -> None:
    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.save(file, values.numpy())

    try:
        write_atomically(path, write)
    except StoreError:
        return  # without a cache the features are computed again
