"""Compare the loading of photos with torchvision's: images per second, time to the first step, peak memory.

Each pipeline trains the same network, with the same random resized crops and flips, in a new process. `torchvision` is
its `ImageFolder` with torch's `DataLoader`. `gwaudit` reads as an audit does: each photo is decoded once. `gwaudit
(decoded in every epoch)` does without memory and cache, as for a source that is too large for both.
"""

import gc
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from gwaudit.benchmarks.results import write_results
from gwaudit.core.errors import SettingsError
from gwaudit.core.settings import DataSettings, ResolvedTrainingSettings
from gwaudit.data.encoded_images import EncodedImages
from gwaudit.data.loading import read_source
from gwaudit.training.augmentation import LEAST_AREA
from gwaudit.training.feeding import BatchFeed
from gwaudit.training.models import build_model

_PHOTO = (500, 375)
_CLASSES = 10
_WITHOUT_STEP = "none"

Batches = Iterator[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class LoadingSettings:
    """Describe a comparison.

    Attributes:
        images: Number of photos.
        image_size: Side in pixels of what the network sees.
        batch_size: Images per step.
        epochs: Number of passes.
        workers: Number of worker processes of each pipeline.
        models: Networks of timm that are trained; `none` reads without a step.
    """

    images: int = 20_000
    image_size: int = 224
    batch_size: int = 64
    epochs: int = 3
    workers: int = 2
    models: Sequence[str] = (_WITHOUT_STEP, "mobilenetv3_small_050")

    def __post_init__(self) -> None:
        for name in ("image_size", "batch_size", "epochs"):
            if getattr(self, name) < 1:
                raise SettingsError(f"`{name}` must be at least 1, not {getattr(self, name)}")
        if self.images < 2 * _CLASSES:
            raise SettingsError(f"`images` must be at least {2 * _CLASSES}, not {self.images}")
        if self.workers < 1:
            raise SettingsError(f"`workers` must be at least 1, not {self.workers}")


@dataclass(frozen=True)
class LoadingRow:
    """Hold what one pipeline took.

    Attributes:
        pipeline: Name of the pipeline.
        model: The network; "none" without a step.
        images, image_size, batch_size, epochs, workers: The settings.
        first_step_seconds: Time from the start of the process, without its imports, to the end of the first step.
        first_epoch_rate: Images per second in the first epoch, with all work before it.
        later_rate: Median images per second of the later epochs; 0 where there are none.
        total_seconds: Time of all epochs, with all work before them.
        peak_mib: Peak memory of the training process, in MiB.
        worker_mib: Peak memory of the largest worker in MiB, which shares some of it.
        processor_seconds: Processor time of all processes for all epochs, without imports: it hardly depends on what
            else the machine does.
    """

    pipeline: str
    model: str
    images: int
    image_size: int
    batch_size: int
    epochs: int
    workers: int
    first_step_seconds: float
    first_epoch_rate: float
    later_rate: float
    total_seconds: float
    peak_mib: float
    worker_mib: float
    processor_seconds: float = 0.0


def loading(
    settings: LoadingSettings,
    output: Path | None = None,
    folder: Path | None = None,
    on_row: Callable[[LoadingRow], None] | None = None,
) -> list[LoadingRow]:
    """Measure all pipelines.

    Args:
        settings: The comparison.
        output: Folder for `loading.json` and its table, written after each row; by default nothing is written.
        folder: Photos to read, in a folder for each class; by default `settings.images` are made, of 500x375 pixels.
        on_row: Receives each row.
    """
    rows = []
    with nullcontext(folder) if folder else tempfile.TemporaryDirectory() as place:
        photos = Path(place or "")
        if folder is None:
            make_photos(photos, settings.images)
        for model in settings.models:
            for pipeline in PIPELINES:
                rows.append(_in_new_process(pipeline, model, photos, settings))
                if output is not None:
                    write_results(output / "loading.json", rows, table=markdown(rows))
                if on_row is not None:
                    on_row(rows[-1])
    return rows


def make_photos(folder: Path, n: int) -> None:
    """Make n JPEGs of 500x375 pixels, smooth colours with some noise, in a folder for each of ten classes."""
    random = np.random.default_rng(0)
    for number in range(n):
        colours = Image.fromarray(random.integers(0, 256, (6, 8, 3), np.uint8)).resize(_PHOTO, Image.Resampling.BICUBIC)
        noise = Image.fromarray(random.integers(0, 256, (_PHOTO[1] // 2, _PHOTO[0] // 2, 3), np.uint8)).resize(_PHOTO)
        path = folder / f"class {number % _CLASSES}" / f"{number:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.blend(colours, noise, 0.15).save(path, quality=90)


def markdown(rows: Sequence[LoadingRow]) -> str:
    """Return the rows as a Markdown table."""
    lines = [
        "| network | pipeline | first step, s | images/s, first epoch | images/s, later | all epochs, s "
        "| processor, s | peak MiB: process, worker |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.model} | {row.pipeline} | {row.first_step_seconds:.1f} | {row.first_epoch_rate:,.0f} "
        f"| {row.later_rate:,.0f} | {row.total_seconds:.1f} | {row.processor_seconds:.1f} "
        f"| {row.peak_mib:,.0f}, {row.worker_mib:,.0f} |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def _in_new_process(pipeline: str, model: str, photos: Path, settings: LoadingSettings) -> LoadingRow:
    context = multiprocessing.get_context("forkserver")  # not forked: the memory of this process would count
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(pipeline, model, photos, settings, sender))
    process.start()
    sender.close()
    try:
        row: LoadingRow = receiver.recv()
    except EOFError:
        raise SettingsError(f"the pipeline {pipeline!r} ended without a result: see its error above") from None
    finally:
        process.join()
    return row


def _measure(pipeline: str, model: str, photos: Path, settings: LoadingSettings, sender: Any) -> None:
    start, used = time.monotonic(), _processor_seconds()
    seen, first_step, ends = _timed_epochs(PIPELINES[pipeline], _step(model), photos, settings)
    gc.collect()  # ends the workers, so that their processor time is counted
    rates = [seen / (end - begin) for begin, end in pairwise([start, *ends])]
    unit = 2**20 if sys.platform == "darwin" else 2**10
    peaks = [resource.getrusage(who).ru_maxrss / unit for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    row = LoadingRow(
        pipeline,
        model,
        seen,
        settings.image_size,
        settings.batch_size,
        settings.epochs,
        settings.workers,
        first_step - start,
        rates[0],
        float(np.median(rates[1:])) if len(rates) > 1 else 0.0,
        ends[-1] - start,
        peaks[0],
        peaks[1],
        _processor_seconds() - used,
    )
    sender.send(row)


def _timed_epochs(
    pipeline: Callable[[Path, Path, LoadingSettings], Any],
    step: Callable[[Tensor, Tensor], None],
    photos: Path,
    settings: LoadingSettings,
) -> tuple[int, float, list[float]]:
    """Return the number of images of an epoch, and the times of the end of the first step and of each epoch."""
    first_step, ends = 0.0, []
    with tempfile.TemporaryDirectory() as cache, closing(pipeline(photos, Path(cache), settings)) as epochs:
        for batches in epochs:
            seen = 0
            for images, labels in batches:
                step(images, labels)
                seen += len(images)
                first_step = first_step or time.monotonic()
            ends.append(time.monotonic())
    return seen, first_step, ends


def _processor_seconds() -> float:
    """Return the processor time of this process, and of the workers that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _step(name: str) -> Callable[[Tensor, Tensor], None]:
    """Return one step of the training of a network on images uint8; nothing for "none"."""
    if name == _WITHOUT_STEP:
        return lambda images, labels: None
    torch.manual_seed(0)
    model: nn.Module = build_model(name, n_classes=_CLASSES, in_chans=3).train()
    model = model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

    def step(images: Tensor, labels: Tensor) -> None:
        inputs = ((images.float() - 127.5) / 64).contiguous(memory_format=torch.channels_last)
        loss = functional.cross_entropy(model(inputs), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch's
        optimizer.step()

    return step


def _torchvision(photos: Path, cache: Path, settings: LoadingSettings) -> Iterator[Batches]:
    side = settings.image_size
    transform = v2.Compose(
        [v2.RandomResizedCrop(side, scale=(LEAST_AREA, 1.0)), v2.RandomHorizontalFlip(), v2.PILToTensor()]
    )
    loader: Any = torch.utils.data.DataLoader(
        ImageFolder(str(photos), transform),
        settings.batch_size,
        shuffle=True,
        num_workers=settings.workers,
        persistent_workers=True,
        multiprocessing_context="fork" if sys.platform == "linux" else None,  # as a user's program and gwaudit do
        generator=torch.Generator().manual_seed(0),
    )
    for _ in range(settings.epochs):
        yield iter(loader)


def _gwaudit(photos: Path, cache: Path, settings: LoadingSettings, *, decodes_once: bool = True) -> Iterator[Batches]:
    data = DataSettings(
        str(photos),
        image_size=settings.image_size,
        workers=settings.workers,
        cache=str(cache),
        cache_limit=32.0 if decodes_once else 0.0,
    )
    dataset = read_source(data)
    if not decodes_once:
        assert dataset.originals is not None
        size = (settings.image_size, settings.image_size)
        encoded = EncodedImages(dataset.originals, size, dataset.image_fit, dataset.image_conversion)
        dataset = replace(dataset, inputs=encoded, workers=settings.workers)
    training = ResolvedTrainingSettings(batch_size=settings.batch_size, augment="resized-crop")
    labels = torch.from_numpy(dataset.labels)
    with closing(BatchFeed(dataset, training)) as feed:
        for epoch in range(settings.epochs):
            yield ((batch.inputs, labels[batch.own_ids]) for batch in feed.training_batches(epoch))


def _decoded_in_every_epoch(photos: Path, cache: Path, settings: LoadingSettings) -> Iterator[Batches]:
    return _gwaudit(photos, cache, settings, decodes_once=False)


PIPELINES: dict[str, Callable[[Path, Path, LoadingSettings], Any]] = {
    "torchvision": _torchvision,
    "gwaudit": _gwaudit,
    "gwaudit (decoded in every epoch)": _decoded_in_every_epoch,
}
"""The pipelines by name; each is a generator of the batches of its epochs."""
