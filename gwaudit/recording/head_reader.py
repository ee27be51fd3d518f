"""Read the latents and logits of a batch from a call of the head, and check that they are those of the loss."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gwaudit.core.errors import RecordingError
from gwaudit.recording.fit import (
    find_rows,
    is_same_memory,
    logit_candidates,
    output_scale,
    probability_misfit,
    product_misfit,
    returned_misfit,
    tolerance,
)
from gwaudit.recording.head import LinearHead, layers_with_outputs
from gwaudit.recording.head_forms import HeadForward, as_matrix, find_form, pool_tokens, scale_logits
from gwaudit.recording.passes import HeadCall, ModelPass, Returned


class _Excess(NamedTuple):
    """Hold the misfits of a batch, each divided by its tolerance: [] each, above 1 if rounding cannot explain it."""

    product: Tensor
    returned: Tensor


class HeadReader:
    """Read the calls of one head as those of a linear layer.

    Args:
        head: The head.
        model: The model without its wrappers, for messages.
        multi_label: Whether each class has a sigmoid of its own.

    Raises:
        ModelError: The head computes something else than a linear layer or a scaled cosine.
    """

    def __init__(self, head: LinearHead, model: nn.Module, *, multi_label: bool) -> None:
        self._head, self._model, self._multi_label = head, model, multi_label
        self._form = find_form(head)
        self._guessed = head.guessed
        # Only the output of the model shows whether a map of logits is averaged over its positions.
        self._must_be_returned = head.guessed or isinstance(head.module, nn.Conv2d)
        self._unchecked: list[_Excess] = []

    def read(self, call: HeadCall, returned: Sequence[Returned]) -> HeadForward:
        """Return a call of the head as that of a linear layer: latent [B, D], logits [B, C].

        On a CPU, and at the first call of a guessed head, the misfits are checked here; otherwise in `check`, as a
        check would wait for the device.

        Args:
            call: The call.
            returned: What the model returned in the passes that this call can belong to.

        Raises:
            RecordingError: The head has no single output per sample, or its output is not what the model returns.
        """
        averaged = call.forward.logits.shape[2:].numel() > 1 and isinstance(self._head.module, nn.Conv2d)
        forward = as_matrix(call.forward, self._head)
        shape = len(forward.logits), forward.logits.shape[-1]
        candidates = [logit_candidates(tensors, shape, forward.logits.device) for tensors in returned]
        if forward.logits.ndim == 3:
            forward = pool_tokens(forward, [tensor for found in candidates for tensor in found])
        if forward.logits.ndim != 2:
            raise RecordingError(
                f"the head {self._head.name!r} gave logits of shape {tuple(forward.logits.shape)}, expected [batch, "
                "classes], and the model does not return the logits of one position or their mean: each sample needs "
                "one prediction, pool before the head"
            )
        if self._must_be_returned and not any(candidates):
            raise RecordingError(self._not_returned(averaged))
        if self._guessed:
            self._require_one_candidate(candidates)
        forward, excess = self._check_batch(
            call, self._form.as_linear(forward), [c for found in candidates for c in found]
        )
        if self._must_be_returned or excess.product.device.type == "cpu":
            self._require_fit([excess], averaged)
            self._guessed = self._must_be_returned = False
        else:
            self._unchecked.append(excess)
        return forward

    def read_rows(self, passes: Iterable[ModelPass], logits: Tensor) -> HeadForward:
        """Return the rows of a pass whose logits are given, as those of a linear layer.

        Args:
            passes: All passes since the last observation.
            logits: [B, C] logits that the loss used.

        Raises:
            RecordingError: They are not consecutive rows of the head's output in one of these passes.
        """
        if not isinstance(logits, Tensor) or logits.ndim != 2 or logits.shape[1] != self._head.n_outputs:
            shape = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise RecordingError(f"logits must be a tensor [B, {self._head.n_outputs}], that of the loss, not {shape}")
        logits = logits.detach()
        calls = [call for one in passes for call in one.parts.values()]
        calls = [call._replace(forward=as_matrix(call.forward, self._head)) for call in calls]
        for call in calls:
            if call.forward.logits.ndim == 3 and len(call.forward.logits) == len(logits):
                return self.read(call, [(logits,)])
        found = find_rows([(call.output, call.forward.logits, call.forward.latent) for call in calls], logits)
        if found is None:
            raise RecordingError(
                f"the given logits are not the output of the head {self._head.name!r} for consecutive rows of one "
                "forward pass since the last observe(): give the tensor that the loss uses, or name the layer that "
                "computes it with head="
            )
        index, rows = found
        call = calls[index]
        forward = call.forward._replace(latent=call.forward.latent[rows], logits=call.forward.logits[rows])
        return self.read(call._replace(forward=forward, output=call.output[rows]), [(logits,)])

    def check(self) -> None:
        """Check the misfits that were not checked yet. Waits for the device.

        Raises:
            RecordingError: In one of the batches, the output of the head is not what the model returns.
        """
        unchecked, self._unchecked = self._unchecked, []
        self._require_fit(unchecked, averaged=False)

    def discard(self) -> None:
        """Discard what was not checked yet."""
        self._unchecked = []

    def _check_batch(
        self, call: HeadCall, forward: HeadForward, candidates: Sequence[Tensor]
    ) -> tuple[HeadForward, _Excess]:
        """Return the forward pass, scaled as the model scales the logits, and its misfits."""
        allowed = tolerance(call.output, call.forward.latent, *candidates)
        product = call.misfit
        if self._form.scaled:
            product = product_misfit(forward.latent, forward.logits, forward.weight, forward.bias)
        if not candidates or any(is_same_memory(candidate, call.output) for candidate in candidates):
            return forward, _Excess(product / allowed, product.new_zeros(()))
        shift = not self._multi_label
        misfits = [returned_misfit(forward.logits, candidate, up_to_a_shift=shift) for candidate in candidates]
        if not self._guessed:
            # The loss can take the logarithm of probabilities.
            misfits += [
                probability_misfit(forward.logits, candidate, multi_label=self._multi_label) for candidate in candidates
            ]
        misfit = torch.stack(misfits).amin()
        if not self._guessed and len(candidates) == 1:
            scale = output_scale(forward.logits, candidates[0], up_to_a_shift=shift)
            scale = torch.where(misfit <= allowed, 1, scale)
            forward = scale_logits(forward, scale)
            scaled_misfit = returned_misfit(forward.logits, candidates[0], up_to_a_shift=shift)
            misfit = torch.minimum(misfit, scaled_misfit)
        return forward, _Excess(product / allowed, misfit / allowed)

    def _require_one_candidate(self, candidates: Sequence[Sequence[Tensor]]) -> None:
        count = max(len(found) for found in candidates)
        if count > 1:
            raise RecordingError(
                f"{type(self._model).__name__} returns {count} tensors that can be the logits, so it is not clear "
                f"which layer the labels belong to: name it with head={self.choices()}"
            )

    def _require_fit(self, excesses: Sequence[_Excess], averaged: bool) -> None:
        if not excesses:
            return
        product, returned = (float(torch.stack(parts).amax()) for parts in zip(*excesses, strict=True))
        if product > 1:
            raise RecordingError(
                f"the output of the head {self._head.name!r} is not its input times its weight plus its bias: "
                "something adds to it or scales it (an adapter with dropout, a hook, a forward method that was "
                "replaced), so the gradient of its weight is not known; apply that before the head, or record by "
                "evaluation passes (record_pass, evaluation_loader=) if it acts in training mode only"
            )
        if returned > 1:
            raise RecordingError(self._not_returned(averaged))

    def _not_returned(self, averaged: bool) -> str:
        name, model = self._head.name, type(self._model).__name__
        if averaged:
            return (
                f"the head {name!r} of {model} gives logits for every position, and the model does not return their "
                "mean (another pooling, an activation in between?): pool before the head"
            )
        if self._guessed:
            kind = "nn.Conv2d" if isinstance(self._head.module, nn.Conv2d) else "nn.Linear"
            return (
                f"the model does not return the output of {name!r}, the last {kind} of {model} that has as many "
                "outputs as the run has classes: name the layer whose output the loss uses as logits with "
                f"head={self.choices()}, or give observe(..., logits=) the tensor of the loss"
            )
        return (
            f"the logits that {model} returns are not the output of the head {name!r}: it averages several heads, or "
            "changes or drops logits after the head. Name the layer that makes them with "
            f"head={self.choices()}, or give observe(..., logits=) the output of the head; for dropout, record by "
            "evaluation passes (record_pass, evaluation_loader=)"
        )

    def choices(self) -> str:
        """Return the layers that can be the head, for messages."""
        names = layers_with_outputs(self._model, self._head.n_outputs)
        listed = ", ".join(repr(name) for name in names)
        return f" (layers with {self._head.n_outputs} outputs: {listed})" if names else ""
