"""Record while `Model.fit` of Keras 3 trains, on Keras's torch backend.

model.fit(loader, epochs=10, callbacks=[AlignmentCallback(store)])   # the loader gives (inputs, labels, sample_ids)
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
    """Records every training batch of `Model.fit`, and commits every epoch to a run.

    `fit` gets a torch `DataLoader` of (inputs, labels, sample_ids), as `gwaudit.WithSampleIds` makes of any
    data set. The ids are taken out before Keras sees them, which would take them for sample weights.

    Args:
        store: the run, open for writing; its given labels are those of the training data.
        head: the `Dense` layer that makes the logits, or its name, where it is not the model's last layer.
        sweep_loader: record by a sweep over these batches, (inputs, labels, sample_ids), after each epoch, rather than
            the training batches: needed where those come with one-hot or mixed targets.

    Raises:
        RecordingError: Keras does not run on torch.
        ModelError, RecordingError, StoreError: in `fit`, as `gwaudit.AlignmentRecorder` does; also for a head with an
            activation, and for a compiled train step.
    """

    def __init__(
        self,
        store: TrajectoryStore,
        *,
        head: str | keras.layers.Dense | None = None,
        sweep_loader: Iterable[tuple[Any, Tensor, Tensor]] | None = None,
    ) -> None:
        super().__init__()
        if keras.backend.backend() != "torch":
            raise RecordingError(
                f"Keras runs on {keras.backend.backend()}: set KERAS_BACKEND=torch in the environment before keras is "
                "imported"
            )
        self._head, self._sweep_loader = head, sweep_loader
        self._loop = LoopRecorder(store, head=None, sweep=self._sweep, always_sweep=sweep_loader is not None)
        self._watched: _Watched | None = None
        self._started = False

    def on_train_begin(self, logs: Any = None) -> None:
        """Watch the model's head and its train step."""
        if self.model.jit_compile:
            raise RecordingError("the train step is compiled as a whole: use model.compile(..., jit_compile=False)")
        self._watched, self._started = _Watched(self.model, _find_dense(self.model, self._head)), False
        train_step: Callable[[Any], Any] = self.model.train_step

        def observed_train_step(data: Any) -> Any:
            with self._released_on_error():
                inputs, labels, sample_ids = _unpack(data)
                result = train_step((inputs, labels))
                if not self._loop.sweeps:
                    self._loop.observe(sample_ids, labels)
            return result

        self.model.train_step = observed_train_step
        with self._released_on_error():
            self._loop.attach(self._watched)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Begin an epoch; the first is compared with the run's."""
        if not self._started:
            with self._released_on_error():
                self._loop.start(epoch)
            self._started = True
        self._loop.begin_epoch(epoch)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Commit the epoch."""
        with self._released_on_error():
            self._loop.end_epoch()

    def on_train_end(self, logs: Any = None) -> None:
        """Leave the model as it was."""
        if self._watched is not None:
            self._watched.release()
            self._watched = None
            del self.model.train_step
        self._loop.detach()

    @contextmanager
    def _released_on_error(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.on_train_end()  # Keras tells no callback of errors
            raise

    def _sweep(self, recorder: AlignmentRecorder) -> None:
        if self._sweep_loader is None:
            raise RecordingError(
                "the batches have one-hot or mixed targets: give AlignmentCallback(sweep_loader=) batches of "
                "(inputs, labels, sample_ids) with integer labels, and without mixing"
            )
        recorder.sweep(self._sweep_loader)


class _Watched(nn.Module):
    """A Keras model as the recorder wants it: called as a module of torch, with an `nn.Linear` for a head.

    Keras does not run torch's hooks. So a linear layer that shares the Dense layer's memory stands before it: it is
    called in its stead, and leaves the computing to it.
    """

    def __init__(self, model: Any, dense: Any) -> None:
        super().__init__()
        self._keras = (model, dense)  # in a tuple, as they are not to be parts of this module
        kernel = dense.kernel.value.detach()
        head: Any = nn.Linear(kernel.shape[0], kernel.shape[1], bias=dense.use_bias, device="meta")
        head.weight = nn.Parameter(kernel.T, requires_grad=False)
        if dense.use_bias:
            head.bias = nn.Parameter(dense.bias.value.detach(), requires_grad=False)
        head.forward = dense.call
        self.head = head
        dense.call = lambda inputs, *args, **kwargs: head(inputs, *args, **kwargs)

    def get_classifier(self) -> nn.Module:
        """As timm's models tell their head."""
        head: nn.Module = self.head
        return head

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self._keras[0](inputs, training=self.training)
        return logits

    def release(self) -> None:
        """Let Keras call the Dense layer itself again."""
        del self._keras[1].call


def _unpack(data: Any) -> tuple[Any, Tensor, Tensor]:
    if not isinstance(data, tuple | list) or len(data) != 3:
        raise RecordingError(
            "fit() needs batches of (inputs, labels, sample_ids): give it a DataLoader over "
            "gwaudit.WithSampleIds(dataset)"
        )
    return data[0], data[1], data[2]


def _find_dense(model: Any, head: Any) -> Any:
    layer = model.layers[-1] if head is None else model.get_layer(head) if isinstance(head, str) else head
    if not isinstance(layer, keras.layers.Dense):
        raise ModelError(
            f"the layer {layer.name!r} is {type(layer).__name__}, not Dense: name the Dense layer that makes the "
            "logits with head="
        )
    if layer.activation is not keras.activations.linear:
        raise ModelError(
            f"the head {layer.name!r} has the activation {layer.activation.__name__!r}, so it gives no logits: leave "
            "the activation out and use a loss with from_logits=True"
        )
    if not layer.built or not isinstance(layer.kernel, keras.Variable):
        raise ModelError(
            f"the head {layer.name!r} has no kernel of its own (not built yet, quantized, LoRA): build the model with "
            "an Input, and train it without"
        )
    return layer
