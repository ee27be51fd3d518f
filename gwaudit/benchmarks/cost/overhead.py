"""Measure what recording costs on the CPU: trials of two steps, with and without recording, in the same run.

Other work on the machine slows both steps of a trial equally, so the ratio of a trial is steadier than two times.
The benchmark measures:

1. a training step of the CIFAR network (`resnet9_16`, 32x32 images, in the dtype of a training, channels last),
2. recording at a head of the size of ViT-S (D = 384, C = 1000, B = 256), beside a ViT-S/16 step,
3. the commit at the end of an epoch of 50,000 samples, spread over the epoch's steps.
"""

import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gwaudit.core.errors import SettingsError
from gwaudit.recording.head import find_head
from gwaudit.recording.recorder import AlignmentRecorder
from gwaudit.store.store import TrajectoryStore
from gwaudit.training.device import autocast, is_fast_at_bfloat16
from gwaudit.training.models import build_model

_EPOCH_SAMPLES = 50_000
_CPU = torch.device("cpu")
_VIT_FEATURES, _VIT_CLASSES, _VIT_BATCH = 384, 1000, 256


@dataclass(frozen=True)
class OverheadResult:
    """Hold times in milliseconds and shares as fractions (0.02 is 2 %).

    Attributes:
        trials: Number of trials: a plain and a recorded step.
        batch_size: Images of a step of the CIFAR network.
        plain_step_ms: Median of its training steps without recording.
        recorded_step_ms: Median of its training steps with recording.
        step_share: Median over the trials of recorded / plain - 1.
        step_share_low: Lower end of its 95 % interval (bootstrap over the trials).
        step_share_high: Upper end of that interval.
        recording_ms: Median of the recorder's own time within the recorded steps (its hook and `observe`).
        recording_share: Median over the recorded steps of that time over the rest of the step. It is steadier than
            `step_share`: two steps of a trial also differ by chance, by far more than the recorder takes.
        commit_ms: Time of committing an epoch of 50,000 samples.
        commit_share: `commit_ms` over the time of the epoch's plain steps.
        vit_recording_ms: Median of the recorder's time at a head with D = 384, C = 1000, B = 256.
        vit_step_ms: Estimated time of a step (forward and backward) of `vit_small_patch16_224` at batch 256: measured
            at `vit_measured_batch` and scaled by the ratio of the batches.
        vit_measured_batch: Images of the measured step.
        vit_share: `vit_recording_ms` over `vit_step_ms`.
        threads: Number of threads of torch.
        dtype: That of a training on this processor: bfloat16 if it computes it fast, else float32.
    """

    trials: int
    batch_size: int
    plain_step_ms: float
    recorded_step_ms: float
    step_share: float
    step_share_low: float
    step_share_high: float
    recording_ms: float
    recording_share: float
    commit_ms: float
    commit_share: float
    vit_recording_ms: float
    vit_step_ms: float
    vit_measured_batch: int
    vit_share: float
    threads: int
    dtype: str

    def to_dict(self) -> dict[str, Any]:
        """Return all numbers by name, for JSON."""
        return asdict(self)


def overhead(*, trials: int = 200, batch_size: int = 512, vit_batch: int = 8, seed: int = 0) -> OverheadResult:
    """Measure what recording costs on this machine's CPU; about a minute on two cores.

    Args:
        trials: Number of trials, at least 3; a tenth more come first as warm-up.
        batch_size: Images of a step of the CIFAR network.
        vit_batch: Images of the ViT step that is measured and scaled to 256.
        seed: Seed of weights, images and bootstrap.

    Raises:
        SettingsError: There are too few trials, or a batch has no images.
    """
    if trials < 3 or batch_size < 2 or vit_batch < 1:
        raise SettingsError(
            "this benchmark needs `trials` >= 3, `batch_size` >= 2 and `vit_batch` >= 1, not "
            f"{trials}, {batch_size} and {vit_batch}"
        )
    with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        plain, recorded, recording = _cifar_steps(Path(folder) / "cifar", trials, batch_size)
        commit = commit_seconds(Path(folder) / "epoch", 10, batch_size)
        vit_recording = recording_seconds(Path(folder) / "vit", _VIT_FEATURES, _VIT_CLASSES, _VIT_BATCH)
        vit_step = _vit_step(vit_batch, repeats=3) * _VIT_BATCH / vit_batch
    low, high = median_interval(recorded / plain - 1, seed)
    step = float(np.median(plain))
    return OverheadResult(
        trials=trials,
        batch_size=batch_size,
        plain_step_ms=1e3 * step,
        recorded_step_ms=1e3 * float(np.median(recorded)),
        step_share=float(np.median(recorded / plain - 1)),
        step_share_low=low,
        step_share_high=high,
        recording_ms=1e3 * float(np.median(recording)),
        recording_share=float(np.median(recording / (recorded - recording))),
        commit_ms=1e3 * commit,
        commit_share=commit / (step * _EPOCH_SAMPLES / batch_size),
        vit_recording_ms=1e3 * vit_recording,
        vit_step_ms=1e3 * vit_step,
        vit_measured_batch=vit_batch,
        vit_share=vit_recording / vit_step,
        threads=torch.get_num_threads(),
        dtype="bfloat16" if is_fast_at_bfloat16(_CPU) else "float32",
    )


def _cifar_steps(
    folder: Path, trials: int, batch_size: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the seconds of plain steps, of recorded ones, and of the recorder within these: [trials] each.

    Both steps of a trial train the same model on the same batch.
    """
    model = build_model("resnet9_16", n_classes=10).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4)
    labels = torch.randint(10, (4 * batch_size,))
    images = torch.randn(4 * batch_size, 3, 32, 32).contiguous(memory_format=torch.channels_last)

    def train_step(ids: Tensor, observe: Callable[[Tensor, Tensor], None]) -> float:
        x, y = images[ids], labels[ids]
        start = perf_counter()
        with autocast("auto", _CPU):
            loss = nn.functional.cross_entropy(model(x), y)
        observe(ids, y)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # of torch
        optimizer.step()
        return perf_counter() - start

    plain, recorded, recording = [], [], []
    with new_store(folder, labels, 10) as store:
        recorder = AlignmentRecorder(model, store)
        for trial in range(trials + max(2, trials // 10)):
            ids = torch.randperm(len(labels))[:batch_size]
            # The order alternates, because the caches are warmer for the second step.
            for record in (False, True) if trial % 2 else (True, False):
                if not record:
                    plain.append(train_step(ids, lambda ids, labels: None))
                    continue
                with TimedRecorder(recorder, find_head(model).module) as timed:
                    recorded.append(train_step(ids, timed.observe))
                recording.append(timed.seconds)
    return np.array(plain[-trials:]), np.array(recorded[-trials:]), np.array(recording[-trials:])


class TimedRecorder:
    """Time the work of a recorder: with hooks around its hook, and a clock around `observe`.

    Args:
        recorder: A recorder that is not attached yet.
        head: The layer that it watches.
        clock: Returns seconds; on a GPU one that waits for the work queued there.
    """

    def __init__(self, recorder: AlignmentRecorder, head: nn.Module, clock: Callable[[], float] = perf_counter) -> None:
        self._recorder, self._head, self._clock = recorder, head, clock
        self.seconds = 0.0

    def __enter__(self) -> Self:
        # Hooks run in the order in which they were registered.
        before = self._head.register_forward_hook(lambda *_: self._add(-self._clock()))
        self._recorder.__enter__()
        self._handles = before, self._head.register_forward_hook(lambda *_: self._add(self._clock()))
        return self

    def __exit__(self, *exception: object) -> None:
        self._recorder.__exit__(None, None, None)
        for handle in self._handles:
            handle.remove()

    def _add(self, seconds: float) -> None:
        self.seconds += seconds

    def observe(self, sample_ids: Tensor, labels: Tensor) -> None:
        """Observe a batch; see `AlignmentRecorder.observe`."""
        self.seconds -= self._clock()
        self._recorder.observe(sample_ids, labels)
        self.seconds += self._clock()


def recording_seconds(folder: Path, features: int, classes: int, batch: int) -> float:
    """Measure the seconds of recording one step at a bare head of this size: the median of 30, after two."""
    head = nn.Linear(features, classes)
    ids, x, y = torch.arange(batch), torch.randn(batch, features), torch.randint(classes, (batch,))
    times = []
    with new_store(folder, y, classes) as store:
        recorder = AlignmentRecorder(head, store, head=head)
        for _ in range(32):
            with TimedRecorder(recorder, head) as timed:
                head(x)
                timed.observe(ids, y)
            times.append(timed.seconds)
    return median(times[2:])


def commit_seconds(folder: Path, classes: int, batch: int, samples: int = _EPOCH_SAMPLES) -> float:
    """Measure the seconds of fetching and committing an epoch of this number of samples."""
    head = nn.Linear(8, classes)
    labels = torch.randint(classes, (samples,))
    with new_store(folder, labels, classes) as store, AlignmentRecorder(head, store, head=head) as recorder:
        for start in range(0, samples, batch):
            ids = torch.arange(start, min(start + batch, samples))
            head(torch.randn(len(ids), 8))
            recorder.observe(ids, labels[ids])
        return _seconds(recorder.end_epoch)


def _vit_step(batch: int, repeats: int) -> float:
    """Measure the seconds of a step of ViT-S/16, forward and backward, in the dtype of a training."""
    model = build_model("vit_small_patch16_224", n_classes=_VIT_CLASSES)
    images, labels = torch.randn(batch, 3, 224, 224), torch.randint(_VIT_CLASSES, (batch,))

    def step() -> None:
        model.zero_grad()
        with autocast("auto", _CPU):
            loss = nn.functional.cross_entropy(model(images), labels)
        loss.backward()  # type: ignore[no-untyped-call]  # of torch

    return median([_seconds(step) for _ in range(1 + repeats)][1:])


def _seconds(work: Callable[..., object], *arguments: object) -> float:
    start = perf_counter()
    work(*arguments)
    return perf_counter() - start


def new_store(folder: Path, labels: Tensor, classes: int) -> TrajectoryStore:
    """Create a run for labels [n], with numbers as class names."""
    names = [str(c) for c in range(classes)]
    return TrajectoryStore.create(folder, given_labels=labels.numpy(), class_names=names)


def median_interval(values: NDArray[np.float64], seed: int) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of a median."""
    draws = np.random.default_rng(seed).choice(values, size=(2000, len(values)))
    low, high = np.quantile(np.median(draws, axis=1), [0.025, 0.975])
    return float(low), float(high)
