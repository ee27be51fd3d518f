"""Choose the forward pass that belongs to the samples of a step, among all passes through the head.

A step can hold several passes: of unlabelled samples, of a second view, of an evaluation. A pass without gradient is
ignored if there is one with gradient, and an evaluation mode pass if there is one in training mode. Among passes of one
kind, the number of samples decides. Passes that a loop makes after it observed belong to the step before: they ran
under older weights. If several are left, nothing is recorded: an error asks which one is meant.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from gwaudit.core.errors import RecordingError
from gwaudit.recording.head_forms import HeadForward


class HeadCall(NamedTuple):
    """Hold one call of the head, on one device.

    Attributes:
        forward: The tensors of the call.
        output: The output of the head itself, detached, not a copy.
        misfit: [] share of the output that the input, the weight and the bias do not explain, in a few rows.
        weight_version: Count of the in-place changes of the head's parameters; 0 in a compiled model.
        is_first_of_weights: Whether the weights changed since the call of this kind before it.
        capacity: Number of calls of one kind that are kept; if the last place is taken, there can have been more.
    """

    forward: HeadForward
    output: Tensor
    misfit: Tensor
    weight_version: int
    is_first_of_weights: bool
    capacity: int


Returned = tuple[Tensor, ...]
"""The tensors that one call of the model returned, detached; one tensor if they are named as the logits."""


@dataclass(frozen=True)
class ModelPass:
    """Describe one forward pass of a batch through the head.

    Attributes:
        parts: The call of each device: DataParallel runs one replica on each.
        with_gradient: Whether gradients were enabled.
        training: Whether the head was in training mode.
        returned: What the model returned in the passes of this mode.
        complete: Whether all passes of this kind were kept.
        is_alone_since_change: Whether it is the only pass of this kind since the weights changed.
    """

    parts: dict[torch.device, HeadCall]
    with_gradient: bool
    training: bool
    returned: Sequence[Returned]
    complete: bool
    is_alone_since_change: bool

    @property
    def n_samples(self) -> int:
        """Return the number of samples, over all devices."""
        return sum(len(part.forward.logits) for part in self.parts.values())

    @property
    def weight_version(self) -> int:
        """Return the count of changes of the weights at this pass."""
        return max(part.weight_version for part in self.parts.values())


def group_calls(
    calls: dict[torch.device, list[HeadCall]], *, with_gradient: bool, training: bool, returned: Sequence[Returned]
) -> list[ModelPass]:
    """Return the passes that some calls of the head belong to, in their order.

    Args:
        calls: The calls of one kind, by device; each pass has at most one call on a device.
        with_gradient, training, returned: As in `ModelPass`.
    """
    lengths = {len(on_device) for on_device in calls.values()}
    complete = len(lengths) == 1 and all(
        len(on_device) < on_device[-1].capacity or on_device[-1].capacity == 1 for on_device in calls.values()
    )
    return [
        ModelPass(
            {device: on_device[index] for device, on_device in calls.items() if index < len(on_device)},
            with_gradient,
            training,
            returned,
            complete,
            # Passes that were not kept ran between the last two that were.
            all(index == len(on_device) - 1 and on_device[index].is_first_of_weights for on_device in calls.values()),
        )
        for index in range(max(lengths, default=0))
    ]


def choose_pass(
    passes: Sequence[ModelPass], n_samples: int, head: str, *, may_be_stale: bool, observes_at_once: bool
) -> ModelPass:
    """Return the pass of the samples that are observed.

    Args:
        passes: All passes since the last observation, at least one.
        n_samples: Number of samples that are observed.
        head: Name of the head, for messages.
        may_be_stale: Whether passes can be from earlier steps, which were not observed.
        observes_at_once: Whether earlier observations show that the loop observes before it makes further passes, so
            that the passes before the last change of the weights belong to the step before.

    Raises:
        RecordingError: Several passes can be meant, or none has that number of samples.
    """
    if len(passes) == 1:
        return passes[0]
    fitting = [one for one in passes if one.n_samples == n_samples]
    if not fitting:
        sizes = ", ".join(str(size) for size in sorted({one.n_samples for one in passes}))
        raise RecordingError(
            f"{n_samples} sample_ids, but the forward passes through the head {head!r} since the last observe() had "
            f"{sizes} samples: {_WAYS_ON}"
        )
    best = max((one.with_gradient, one.training) for one in fitting)
    of_kind = [one for one in fitting if (one.with_gradient, one.training) == best]
    chosen = of_kind[0]
    if observes_at_once and of_kind[-1].is_alone_since_change:
        chosen = of_kind[-1]
    elif len(of_kind) > 1 or not chosen.complete:
        kind = "training" if best == (True, True) else "forward"
        count = f"{len(of_kind)} {kind} passes of {n_samples} samples"
        if not chosen.complete:
            count = f"several {kind} passes, at least one of {n_samples} samples,"
        raise RecordingError(
            f"{count} went through the head {head!r} since the last observe(), "
            f"so it is not clear which one belongs to these sample_ids: {_WAYS_ON}"
        )
    if may_be_stale and any(one.weight_version > chosen.weight_version for one in fitting):
        raise RecordingError(
            f"since the last observe(), a training pass of {n_samples} samples went through the head {head!r}, then "
            "the weights changed, then a pass without gradient followed: call observe() for each training step, or "
            "record_pass() for evaluation passes (discard_passes() forgets passes that are not to be observed)"
        )
    return chosen


_WAYS_ON = (
    "call observe() right after the pass of these samples, or give it the logits of the loss, observe(sample_ids, "
    "labels, logits=logits); in Lightning, return {'loss': loss, 'logits': logits} from training_step; in Trainer and "
    "Keras, give evaluation_loader="
)
