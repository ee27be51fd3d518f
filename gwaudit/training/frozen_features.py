"""Latents of a backbone that stays as it is, computed once and kept: of images by a timm model, of texts by an encoder.

What comes out is the same data set, ids, keys and labels, with features [D] for inputs: a head is trained on them in
seconds. Latents are cached by what they depend on, the inputs and the backbone's weights, in the folder that
`GWAUDIT_CACHE` names, by default `gwaudit` in the user's cache folder.
"""

import hashlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from gwaudit.core.errors import DataError, MissingExtraError, ModelError, SettingsError, StoreError
from gwaudit.core.files import write_atomically
from gwaudit.core.settings import TrainingSettings
from gwaudit.data.dataset import LabeledDataset
from gwaudit.data.inputs import features
from gwaudit.training.augmentation import normalise
from gwaudit.training.device import autocast, device_of
from gwaudit.training.models import build_model, pretrained_statistics

_TEXTS_A_STEP = 256


class LatentProgress(Protocol):
    """Who is told how far the latents are."""

    def on_latents(self, done: int, samples: int) -> None:
        """After each batch."""


def frozen_latents(
    dataset: LabeledDataset, settings: TrainingSettings, progress: LatentProgress | None = None
) -> LabeledDataset:
    """Images as what the model of the settings makes of them before its head, without augmentation.

    Args:
        dataset: of images.
        settings: `model`, and where its weights come from: `pretrained` or `checkpoint`; `batch_size`, `dtype` and
            `device` to compute on.
        progress: told how far it is.

    Returns:
        The data set with features [D] for inputs.

    Raises:
        SettingsError: the model would have no weights but random ones.
        ModelError: it cannot be built, does not fit the images, or has no latents.
    """
    if not settings.pretrained and settings.checkpoint is None:
        raise SettingsError(
            "a frozen backbone needs weights worth keeping: --pretrained for timm's, or --checkpoint FILE"
        )
    channels, height, _ = dataset.input_shape
    model = build_model(
        settings.model,
        n_classes=len(dataset.class_names),
        in_chans=channels,
        image_size=height,
        pretrained=settings.pretrained,
        checkpoint=None if settings.checkpoint is None else Path(settings.checkpoint),
    ).eval()
    if not (hasattr(model, "forward_features") and hasattr(model, "forward_head")):
        raise ModelError(f"{settings.model} does not say what comes before its head; choose another model of timm's")
    device = device_of(settings.device)
    mean, std = pretrained_statistics(settings.model, channels) or dataset.channel_statistics()
    centre, scale = torch.as_tensor(mean).float().to(device), torch.as_tensor(std).float().to(device)
    model = model.to(device).to(memory_format=torch.channels_last)

    def compute() -> Tensor:
        done: list[Tensor] = []
        with torch.no_grad(), autocast(settings.dtype, device):
            for ids in torch.split(torch.arange(len(dataset)), settings.batch_size):
                images = normalise(dataset.read(ids).to(device, non_blocking=True), centre, scale)
                latent = _latent(model, images.contiguous(memory_format=torch.channels_last))
                done.append(latent.float().cpu())
                if progress is not None:
                    progress.on_latents(int(ids[-1]) + 1, len(dataset))
        return torch.cat(done)

    digest = _digest_of(model, f"{settings.model} {settings.dtype} {mean} {std}")
    # By what is computed on: a fingerprint goes by the lengths of images that are not held.
    for ids in torch.split(torch.arange(len(dataset)), settings.batch_size):
        digest.update(dataset.read(ids).numpy().tobytes())
    return _with_features(dataset, digest, compute)


def embed_texts(dataset: LabeledDataset, encoder: str, progress: LatentProgress | None = None) -> LabeledDataset:
    """Texts as what a sentence encoder makes of them.

    Args:
        dataset: of texts.
        encoder: a folder with a sentence encoder or any Hugging Face model (then the mean of its token vectors), or
            the name of one on the hub; loaded by sentence-transformers (the extra `text`).
        progress: told how far it is.

    Returns:
        The data set with features [D] for inputs, and its texts beside.

    Raises:
        MissingExtraError: sentence-transformers is not installed.
        ModelError: the encoder cannot be loaded.
    """
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise MissingExtraError("embedding texts", "text") from error
    if dataset.texts is None or dataset.modality != "texts":
        raise DataError(f"{dataset.name} holds {dataset.modality}, not texts")
    texts = list(dataset.texts)
    try:
        model = SentenceTransformer(encoder)
    except Exception as error:  # whatever the library, the hub and the file raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(f"the encoder {encoder!r} cannot be loaded: {reason}") from error

    def compute() -> Tensor:
        done: list[Tensor] = []
        for start in range(0, len(texts), _TEXTS_A_STEP):
            part = texts[start : start + _TEXTS_A_STEP]
            done.append(torch.from_numpy(np.asarray(model.encode(part, show_progress_bar=False), np.float32)))
            if progress is not None:
                progress.on_latents(start + len(part), len(texts))
        return torch.cat(done)

    digest = _digest_of(model, repr(model.max_seq_length))
    dataset.inputs.add_to(digest)
    return _with_features(dataset, digest, compute)


def _digest_of(model: nn.Module, settings: str) -> Any:
    """A checksum that depends on the settings and on every weight, whatever its type."""
    digest = hashlib.sha256(settings.encode())
    for name, values in model.state_dict().items():
        digest.update(name.encode())
        digest.update(values.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest


def _latent(model: nn.Module, images: Tensor) -> Tensor:
    latent: Any = model.forward_head(model.forward_features(images), pre_logits=True)  # type: ignore[operator]  # timm's
    if not isinstance(latent, Tensor) or latent.ndim != 2:
        raise ModelError(f"the latents of {type(model).__name__} are not [batch, features]; choose another model")
    return latent


def _with_features(dataset: LabeledDataset, digest: Any, compute: Callable[[], Tensor]) -> LabeledDataset:
    path = _cache() / f"{digest.hexdigest()[:32]}.npy"
    values = _cached(path, len(dataset))
    if values is None:
        values = compute()
        bad = torch.nonzero(~torch.isfinite(values).all(1))
        if len(bad):
            key = dataset.keys[int(bad[0])]
            raise ModelError(f"the latents of {len(bad)} samples are NaN or infinite, the first {key}: try float32")
        _keep(path, values)
    return replace(dataset, inputs=features(values))


def _cache() -> Path:
    told = os.environ.get("GWAUDIT_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return (Path(told) if told else Path(base) / "gwaudit") / "latents"


def _cached(path: Path, n: int) -> Tensor | None:
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None  # not there, or broken: it is made anew
    return torch.from_numpy(values) if values.ndim == 2 and len(values) == n else None


def _keep(path: Path, values: Tensor) -> None:
    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.save(file, values.numpy())

    try:
        write_atomically(path, write)
    except StoreError:
        return  # a cache that cannot be written costs time only
