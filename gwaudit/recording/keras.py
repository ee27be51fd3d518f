"""Record the training of `Model.fit` of Keras 3, on Keras's torch backend.

model.fit(loader, epochs=10, callbacks=[AlignmentCallback(store)])   # batches of (inputs, labels, sample_ids)
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from gwaudit.core.errors import ModelError, RecordingError
from gwaudit.recording._loop_recorder import LoopRecorder, not_installed
from gwaudit.recording.recorder import AlignmentRecorder
from gwaudit.store.store import TrajectoryStore

try:
    import keras
except ModuleNotFoundError as error:
    raise not_installed("Keras", "keras") from error


class AlignmentCallback(keras.callbacks.Callback):
    """Record every training batch of `Model.fit`, and commit every epoch to a run.

    `fit` gets a torch `DataLoader` of (inputs, labels, sample_ids), as `gwaudit.WithSampleIds` makes from any data set.
    The ids are removed before the batch reaches Keras, which would use them as sample weights.

    Args:
        store: The run, open for writing; its given labels are those of the training data.
        head: The `Dense` layer that computes the logits, or its name, if it is not the last layer of the model.
        evaluation_loader: Batches (inputs, labels, sample_ids) for an evaluation pass that records each epoch, instead
            of the training batches. It is needed if those have one-hot or mixed targets.

    Raises:
        RecordingError: Keras does not run on torch.
        ModelError, RecordingError, StoreError: In `fit`, as `gwaudit.AlignmentRecorder`; also for a head with another
            activation than softmax, or sigmoid in a multi-label run, and for a compiled train step.

    Example:
        >>> model.fit(loader, epochs=10, callbacks=[AlignmentCallback(store)])  # doctest: +SKIP
    """

    def __init__(
        self,
        store: TrajectoryStore,
        *,
        head: str | keras.layers.Dense | None = None,
        evaluation_loader: Iterable[tuple[Any, Tensor, Tensor]] | None = None,
    ) -> None:
        super().__init__()
        if keras.backend.backend() != "torch":
            raise RecordingError(
                f"Keras runs on {keras.backend.backend()}: set KERAS_BACKEND=torch in the environment before keras is "
                "imported"
            )
        self._head, self._evaluation_loader = head, evaluation_loader
        self._activation = "sigmoid" if store.is_multi_label else "softmax"
        self._loop = LoopRecorder(
            store, head=None, record_pass=self._record_pass, use_passes=evaluation_loader is not None
        )
        self._torch_model: _TorchModel | None = None
        self._started = self._begins_step = False

    def on_train_begin(self, logs: Any = None) -> None:
        """Attach the recorder to the head, and wrap the train step."""
        if (interrupted := getattr(self.model.train_step, "release", None)) is not None:
            interrupted()
        if self.model.jit_compile:
            raise RecordingError("the train step is compiled: use model.compile(..., jit_compile=False)")
        dense = _find_dense(self.model, self._head, self._activation)
        self._torch_model, self._started = _TorchModel(self.model, dense), False
        train_step: Callable[[Any], Any] = self.model.train_step

        def observed_train_step(data: Any) -> Any:
            if not self._begins_step:  # a later fit() without this callback, after one that was interrupted
                self.on_train_end()
                return train_step(data)
            self._begins_step = False
            with self._restored_on_error():
                inputs, labels, sample_ids = _unpack(data)
                self._loop.begin_step()
                result = train_step((inputs, labels))
                if not self._loop.uses_passes:
                    self._loop.observe(sample_ids, labels)
            return result

        observed_train_step.release = self.on_train_end  # type: ignore[attr-defined]  # a function takes attributes
        self.model.train_step = observed_train_step
        with self._restored_on_error():
            self._loop.attach(self._torch_model)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Begin an epoch; before the first one, check that the run holds the epochs before it."""
        if not self._started:
            with self._restored_on_error():
                self._loop.start(epoch)
            self._started = True
        self._loop.begin_epoch(epoch)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Begin a step."""
        self._begins_step = True

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Commit the epoch."""
        with self._restored_on_error():
            self._loop.end_epoch()

    def on_train_end(self, logs: Any = None) -> None:
        """Restore the model, and detach the recorder."""
        if self._torch_model is not None:
            self._torch_model.release()
            self._torch_model = None
            del self.model.train_step
        self._loop.detach()

    @contextmanager
    def _restored_on_error(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.on_train_end()  # Keras does not call callbacks after an error
            raise

    def _record_pass(self, recorder: AlignmentRecorder) -> None:
        if self._evaluation_loader is None:
            raise RecordingError(
                "the batches have one-hot or mixed targets: give AlignmentCallback(evaluation_loader=) batches of "
                "(inputs, labels, sample_ids) with integer labels, and without mixing"
            )
        recorder.record_pass(self._evaluation_loader)


class _TorchModel(nn.Module):
    """Wrap a Keras model as a torch module with an `nn.Linear` as its head.

    Keras does not run torch's hooks. So an `nn.Linear` that shares the memory of the Dense layer is called instead of
    it, and its forward pass calls the Dense layer. The activation of the Dense layer is applied to what the `nn.Linear`
    returns.
    """

    def __init__(self, model: Any, dense: Any) -> None:
        super().__init__()
        self._keras = (model, dense)  # in a tuple, so that torch does not register them as parts of this module
        kernel = dense.kernel.value.detach()
        head: Any = nn.Linear(kernel.shape[0], kernel.shape[1], bias=dense.use_bias, device="meta")
        head.weight = nn.Parameter(kernel.T, requires_grad=False)
        if dense.use_bias:
            head.bias = nn.Parameter(dense.bias.value.detach(), requires_grad=False)
        activation = dense.activation
        if activation is keras.activations.linear:
            head.forward = dense.call
        else:
            head.forward = lambda inputs, *args, **kwargs: _logits(dense, inputs)
        self.head = head
        dense.call = lambda inputs, *args, **kwargs: activation(head(inputs, *args, **kwargs))

    def get_classifier(self) -> nn.Module:
        """Return the head, as timm's models do."""
        head: nn.Module = self.head
        return head

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the logits of the Keras model."""
        logits: Tensor = self._keras[0](inputs, training=self.training)
        return logits

    def release(self) -> None:
        """Restore the call of the Dense layer."""
        del self._keras[1].call


def _unpack(data: Any) -> tuple[Any, Tensor, Tensor]:
    if not isinstance(data, tuple | list) or len(data) != 3:
        raise RecordingError(
            "fit() needs batches of (inputs, labels, sample_ids): give it a DataLoader over "
            "gwaudit.WithSampleIds(dataset)"
        )
    return data[0], data[1], data[2]


def _logits(dense: Any, inputs: Any) -> Any:
    """Return the output of a Dense layer before its activation."""
    product = keras.ops.matmul(inputs, dense.kernel)
    return product if dense.bias is None else keras.ops.add(product, dense.bias)


def _find_dense(model: Any, head: Any, activation: str) -> Any:
    layer = model.layers[-1] if head is None else model.get_layer(head) if isinstance(head, str) else head
    if not isinstance(layer, keras.layers.Dense):
        raise ModelError(
            f"the layer {layer.name!r} is {type(layer).__name__}, not Dense: name the Dense layer that makes the "
            "logits with head="
        )
    if layer.activation not in (keras.activations.linear, getattr(keras.activations, activation)):
        raise ModelError(
            f"the head {layer.name!r} has the activation {layer.activation.__name__!r}, expected none or "
            f"{activation!r}: its output is no probability of these labels; leave the activation out and use a loss "
            "with from_logits=True"
        )
    if not layer.built or not isinstance(layer.kernel, keras.Variable):
        raise ModelError(
            f"the head {layer.name!r} has no kernel of its own (not built yet, quantized, LoRA): build the model with "
            "an Input, and train it without quantization or LoRA"
        )
    return layer
