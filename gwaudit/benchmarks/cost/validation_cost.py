"""Compare the cost of recording with that of the validation pass that it can replace, for any network and device.

Each trial is a training step with the recorder attached, whose own time is measured, and a forward pass of a batch in
evaluation mode. Other work on the machine slows both equally, so the ratio of a trial is steadier than two times. On a
GPU the clock waits for the device before and after, so the recorder's time is overestimated.
"""

import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from gwaudit.benchmarks.cost.overhead import TimedRecorder, commit_seconds, median_interval, new_store
from gwaudit.core.errors import SettingsError
from gwaudit.recording.head import find_head
from gwaudit.recording.recorder import AlignmentRecorder
from gwaudit.training.device import autocast, resolve_device
from gwaudit.training.models import build_model


@dataclass(frozen=True)
class ValidationCost:
    """Hold times in milliseconds and shares as fractions.

    Attributes:
        model, image_size, classes, batch_size, device, threads: Network, data and machine that were measured.
        trials: Number of trials: a recorded step and a validation batch.
        samples: Samples per epoch.
        share: Share of them that a validation would evaluate.
        step_ms: Median time of a training step without the recorder's part.
        recording_ms: Median time of the recorder's part.
        recording_share: Median over the trials of the second over the first.
        recording_share_low, recording_share_high: 95 % interval of that share (bootstrap over the trials).
        epoch_recording_ms: Time of recording a whole epoch, including its commit.
        validation_ms: Time of evaluating that share of the samples.
        validation_share: This time over that of the epoch's training.
        ratio: Median over the trials of `epoch_recording_ms` over `validation_ms`: below 1, recording is cheaper.
        ratio_low, ratio_high: 95 % interval of the ratio.
    """

    model: str
    image_size: int
    classes: int
    batch_size: int
    device: str
    threads: int
    trials: int
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
    trials: int = 50,
    device: str = "auto",
    seed: int = 0,
) -> ValidationCost:
    """Measure the costs on this machine, with random images and weights.

    Args:
        model, image_size, classes, batch_size: Training step; the papers use `vit_small_patch16_224`, 224 pixels, 1,000
            classes and batch 256, on a GPU.
        samples: Samples per epoch.
        share: Share of them that a validation would evaluate.
        trials: Number of trials, at least 3; a tenth more, at least two, come first as warm-up.
        device: Device, as in `TrainingSettings`.
        seed: Seed of weights, images and bootstrap.

    Raises:
        SettingsError: There are too few trials, samples or images.
        ModelError: The model is unknown.
    """
    if trials < 3 or batch_size < 2 or samples < batch_size or not 0 < share < 1:
        raise SettingsError(
            "this benchmark needs `trials` >= 3, `batch_size` >= 2, `samples` >= `batch_size` and `share` in (0, 1), "
            f"not {trials}, {batch_size}, {samples} and {share}"
        )
    resolved = resolve_device(device)
    with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_model(model, n_classes=classes, image_size=image_size)
        network = network.to(resolved).to(memory_format=torch.channels_last)
        shape = (batch_size, 3, image_size, image_size)
        plain, recording, evaluated = _time_trials(Path(folder) / "run", network, shape, classes, trials)
        commit = commit_seconds(Path(folder) / "epoch", classes, batch_size, samples)
    epoch_recording = math.ceil(samples / batch_size) * recording + commit
    epoch_validation = share * samples / batch_size * evaluated
    ratio, each = epoch_recording / epoch_validation, recording / plain
    return ValidationCost(
        model=model,
        image_size=image_size,
        classes=classes,
        batch_size=batch_size,
        device=torch.cuda.get_device_name(resolved) if resolved.type == "cuda" else resolved.type,
        threads=torch.get_num_threads(),
        trials=trials,
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


def _time_trials(
    folder: Path, network: nn.Module, shape: tuple[int, ...], classes: int, trials: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the seconds of each trial: of the step without the recorder's part, of that part, of the validation batch.

    Args:
        folder: Folder for the run.
        network: The network, on its device.
        shape: Shape of a batch, (B, C, H, W).
        classes: Number of classes of the head.
        trials: Number of trials.
    """
    device = next(network.parameters()).device
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9)
    labels = torch.randint(classes, shape[:1])
    targets, ids = labels.to(device), torch.arange(len(labels))
    images, clock = torch.randn(shape).to(device, memory_format=torch.channels_last), _clock(device)
    with new_store(folder, labels, classes) as store:
        recorder = AlignmentRecorder(network, store)

        def step() -> tuple[float, float]:
            network.train()
            with TimedRecorder(recorder, find_head(network).module, clock) as timed:
                began = clock()
                with autocast("auto", device):
                    loss = functional.cross_entropy(network(images), targets)
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
            with torch.no_grad(), autocast("auto", device):
                predicted: Tensor = network(images).argmax(1)
                (predicted == targets).sum().item()
            return clock() - began

        rows = []
        for trial in range(trials + max(2, trials // 10)):
            # The order alternates, because the caches are warmer for the second part.
            first = validation() if trial % 2 else None
            plain, recording = step()
            rows.append((plain, recording, validation() if first is None else first))
    plains, recordings, validations = np.array(rows[-trials:]).T
    return plains, recordings, validations


def _clock(device: torch.device) -> Callable[[], float]:
    if device.type != "cuda":
        return perf_counter

    def waiting() -> float:
        torch.cuda.synchronize(device)
        return perf_counter()

    return waiting
