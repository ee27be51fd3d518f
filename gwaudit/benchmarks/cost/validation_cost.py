"""What recording costs beside the validation pass that it can replace: paired, with any network, on any device.

Each pair is a training step with the recorder attached, whose own time is taken, and a forward pass of a batch in
evaluation mode. Other work on the machine slows both alike, so that the ratio of a pair says more than two times do. On
a GPU the clock waits for the device before and after, which charges the recorder with more than it takes when nobody
waits.
"""

import math
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from gwaudit.benchmarks.cost.overhead import TimedRecorder, commit_seconds, median_interval, new_store
from gwaudit.core.errors import SettingsError
from gwaudit.recording.head import find_head
from gwaudit.recording.recorder import AlignmentRecorder
from gwaudit.training.device import autocast, resolve_device
from gwaudit.training.models import build_model


@dataclass(frozen=True)
class ValidationCost:
    """Times in milliseconds, shares as fractions.

    Attributes:
        model, image_size, classes, batch_size, device, threads: what was measured.
        pairs: of a recorded step and a validation batch.
        samples, share: an epoch of so many samples, of which validation would evaluate this share.
        step_ms: median of a training step without the recorder's part.
        recording_ms: median of the recorder's part.
        recording_share: median over the pairs of the second over the first.
        recording_share_low, recording_share_high: its 95 % interval (bootstrap over the pairs).
        epoch_recording_ms: recording a whole epoch, its commit included.
        validation_ms: evaluating that share of the samples.
        validation_share: that over the epoch's training.
        ratio: median over the pairs of `epoch_recording_ms` over `validation_ms`: below 1, recording is cheaper.
        ratio_low, ratio_high: its 95 % interval.
    """

    model: str
    image_size: int
    classes: int
    batch_size: int
    device: str
    threads: int
    pairs: int
    samples: int
    share: float
    step_ms: float
    recording_ms: float
    recording_share: float
    recording_share_low: float
    recording_share_high: float
    epoch_recording_ms: float
    validation_ms: float
    validation_share: float
    ratio: float
    ratio_low: float
    ratio_high: float


def validation_cost(
    *,
    model: str = "resnet9_16",
    image_size: int = 32,
    classes: int = 10,
    batch_size: int = 512,
    samples: int = 50_000,
    share: float = 0.01,
    pairs: int = 50,
    device: str = "auto",
    seed: int = 0,
) -> ValidationCost:
    """Measure on this machine, with random images and weights.

    Args:
        model, image_size, classes, batch_size: of the training step; the papers' shapes are `vit_small_patch16_224`,
            224 pixels, 1,000 classes and batch 256, on a GPU.
        samples: of an epoch.
        share: of them that validation would evaluate.
        pairs: at least 3; a tenth more, and two at least, come first to warm up.
        device: as in `TrainingSettings`.
        seed: of weights, images and bootstrap.

    Raises:
        SettingsError: too few pairs, samples or images.
        ModelError: an unknown model.
    """
    if pairs < 3 or batch_size < 2 or samples < batch_size or not 0 < share < 1:
        raise SettingsError(
            "needs pairs >= 3, batch_size >= 2, samples >= batch_size and a share between 0 and 1, got "
            f"{pairs}, {batch_size}, {samples} and {share}"
        )
    place = resolve_device(device)
    with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng(devices=[]), ExitStack() as stack:
        torch.manual_seed(seed)
        network = build_model(model, n_classes=classes, image_size=image_size)
        network = network.to(place).to(memory_format=torch.channels_last)
        optimizer = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9)
        labels = torch.randint(classes, (batch_size,))
        on_device, ids = labels.to(place), torch.arange(batch_size)
        images = torch.randn(batch_size, 3, image_size, image_size).to(place, memory_format=torch.channels_last)
        store = stack.enter_context(new_store(Path(folder) / "run", labels, classes))
        recorder, clock = AlignmentRecorder(network, store), _clock(place)

        def step() -> tuple[float, float]:
            network.train()
            with TimedRecorder(recorder, find_head(network).module, clock) as timed:
                began = clock()
                with autocast("auto", place):
                    loss = functional.cross_entropy(network(images), on_device)
                timed.observe(ids, labels)
                optimizer.zero_grad()
                torch.autograd.backward([loss])
                optimizer.step()
                spent = clock() - began
            recorder.discard_epoch()
            return spent - timed.seconds, timed.seconds

        def validation() -> float:
            network.eval()
            began = clock()
            with torch.no_grad(), autocast("auto", place):
                predicted: Tensor = network(images).argmax(1)
                (predicted == on_device).sum().item()
            return clock() - began

        rows = []
        for pair in range(pairs + max(2, pairs // 10)):
            # Which half comes first alternates: the second finds warmer caches.
            first = validation() if pair % 2 else None
            plain, recording = step()
            rows.append((plain, recording, validation() if first is None else first))
        plain, recording, evaluated = np.array(rows[-pairs:]).T
        commit = commit_seconds(Path(folder) / "epoch", classes, batch_size, samples)
    epoch_recording = math.ceil(samples / batch_size) * recording + commit
    epoch_validation = share * samples / batch_size * evaluated
    ratio, each = epoch_recording / epoch_validation, recording / plain
    return ValidationCost(
        model=model,
        image_size=image_size,
        classes=classes,
        batch_size=batch_size,
        device=torch.cuda.get_device_name(place) if place.type == "cuda" else place.type,
        threads=torch.get_num_threads(),
        pairs=pairs,
        samples=samples,
        share=share,
        step_ms=1e3 * float(np.median(plain)),
        recording_ms=1e3 * float(np.median(recording)),
        recording_share=float(np.median(each)),
        recording_share_low=median_interval(each, seed)[0],
        recording_share_high=median_interval(each, seed)[1],
        epoch_recording_ms=1e3 * float(np.median(epoch_recording)),
        validation_ms=1e3 * float(np.median(epoch_validation)),
        validation_share=float(np.median(epoch_validation / (samples / batch_size * plain))),
        ratio=float(np.median(ratio)),
        ratio_low=median_interval(ratio, seed)[0],
        ratio_high=median_interval(ratio, seed)[1],
    )


def _clock(device: torch.device) -> Callable[[], float]:
    if device.type != "cuda":
        return perf_counter

    def waiting() -> float:
        torch.cuda.synchronize(device)
        return perf_counter()

    return waiting
