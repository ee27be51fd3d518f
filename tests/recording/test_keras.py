"""Under Keras's `Model.fit` on torch the callback records, sample by sample, what the plain loop does."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from gwaudit.core.errors import ModelError, RecordingError
from gwaudit.data.sample_ids import WithSampleIds
from gwaudit.recording.keras import AlignmentCallback
from gwaudit.store.store import TrajectoryStore
from helpers.loops import (
    BATCH,
    CLASSES,
    EPOCHS,
    IMAGES,
    LABELS,
    N,
    assert_planted_is_found,
    column,
    dataset,
    loader,
    network,
    new_store,
    plain_run,
)


def model_of(activation: Any = None, **options: Any) -> Any:
    """The network of the plain loop, in Keras."""
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((1, 8, 8)),
            layers.Flatten(),
            layers.Dense(32, activation="relu"),
            layers.Dense(CLASSES, activation=activation, name="head"),
        ]
    )
    with torch.no_grad():
        for layer, linear in zip([model.layers[1], model.layers[2]], [network()[1], network()[3]], strict=True):
            layer.set_weights([linear.weight.T.numpy(), linear.bias.numpy()])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=activation is None)
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), loss, jit_compile=False, **options)
    return model


def fit(
    path: Path, model: Any = None, batches: Any = None, *, callback: dict[str, Any] | None = None, **options: Any
) -> TrajectoryStore:
    with new_store(path) as store:
        recording = AlignmentCallback(store, **(callback or {}))
        (model or model_of()).fit(
            batches or loader(), epochs=EPOCHS, callbacks=[recording], verbose=0, shuffle=False, **options
        )
    return store


def in_one_order() -> DataLoader[Any]:
    """Shuffled, but in each epoch alike: Keras looks at a batch beforehand, and a generator would have moved on."""
    return DataLoader(dataset(), BATCH, sampler=torch.randperm(N, generator=torch.Generator().manual_seed(1)).tolist())


def assert_close(store: TrajectoryStore, plain: TrajectoryStore) -> None:
    assert store.epochs == plain.epochs
    for epoch in plain.epochs:
        assert (store.commit(epoch).missing, store.commit(epoch).repeated) == (0, 0)
        for signal in ("alignment", "alternative_alignment", "loss", "margin"):
            np.testing.assert_allclose(column(store, epoch, signal), column(plain, epoch, signal), rtol=1e-3, atol=1e-4)


def test_what_is_recorded_is_what_the_plain_loop_records(tmp_path: Path) -> None:
    assert_close(fit(tmp_path / "run", batches=in_one_order()), plain_run(tmp_path / "plain", in_one_order()))


def test_a_head_with_softmax_is_recorded_as_the_plain_loop_records_its_logits(tmp_path: Path) -> None:
    model = model_of("softmax")
    assert_close(fit(tmp_path / "run", model, in_one_order()), plain_run(tmp_path / "plain", in_one_order()))
    assert not any("call" in vars(layer) for layer in model.layers)


def test_a_head_with_sigmoid_records_the_binary_cross_entropy_of_each_class(tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(3, activation="sigmoid")])
    model.compile(keras.optimizers.SGD(0.0), "binary_crossentropy", jit_compile=False)
    model.layers[0].bias.assign([0.5, -1.0, 2.0])
    given = (LABELS[:, None] % torch.tensor([2, 3, 5]) == 0).float()
    batches = DataLoader(WithSampleIds(TensorDataset(IMAGES.flatten(1), given)), BATCH)
    with TrajectoryStore.create(tmp_path / "run", given_labels=given.int().numpy(), class_names=list("abc")) as store:
        model.fit(batches, epochs=1, verbose=0, callbacks=[AlignmentCallback(store)])
    with torch.no_grad():
        logits = IMAGES.flatten(1) @ model.layers[0].kernel.value + model.layers[0].bias.value
        expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, given, reduction="none")
        head = torch.cat([model.layers[0].kernel.value, model.layers[0].bias.value[None]])
        latents = torch.cat([IMAGES.flatten(1), torch.ones(N, 1)], 1)
        cosines = (2 * given - 1) * logits / (latents.norm(dim=1, keepdim=True) * head.norm(dim=0))
    np.testing.assert_allclose(column(store, 0, "loss"), expected.flatten(), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(column(store, 0, "alignment"), cosines.flatten(), rtol=1e-3, atol=1e-5)


def test_a_planted_sample_is_found_under_its_own_id_after_shuffling_and_workers(tmp_path: Path) -> None:
    assert_planted_is_found(fit(tmp_path / "run", batches=loader(workers=2)))


def test_validation_is_not_recorded(tmp_path: Path) -> None:
    validation = DataLoader(TensorDataset(IMAGES[:20], LABELS[:20]), BATCH)
    store = fit(tmp_path / "run", batches=in_one_order(), validation_data=validation)
    assert_close(store, plain_run(tmp_path / "plain", in_one_order()))


def test_recording_changes_nothing_of_what_is_trained_and_leaves_the_model_as_it_was(tmp_path: Path) -> None:
    plain, recorded = model_of(), model_of()
    before = set(vars(recorded)) | set(vars(recorded.layers[-1]))
    fit(tmp_path / "run", recorded)
    bare = loader(collate_fn=lambda samples: tuple(torch.utils.data.default_collate(samples)[:2]))
    plain.fit(bare, epochs=EPOCHS, verbose=0, shuffle=False)
    assert all(np.array_equal(a, b) for a, b in zip(plain.get_weights(), recorded.get_weights(), strict=True))
    assert not {"call", "train_step"} & (set(vars(recorded)) | set(vars(recorded.layers[-1]))) - before


def test_a_training_that_goes_on_records_the_later_epochs_and_a_new_one_is_refused(tmp_path: Path) -> None:
    model = model_of()
    fit(tmp_path / "run", model)
    with TrajectoryStore.open(tmp_path / "run", writable=True) as store:
        with pytest.raises(RecordingError, match="starts at epoch 0"):
            model_of().fit(loader(), epochs=1, callbacks=[AlignmentCallback(store)], verbose=0)
        model.fit(loader(), initial_epoch=2, epochs=3, callbacks=[AlignmentCallback(store)], verbose=0)
        assert store.epochs == (0, 1, 2)


@pytest.mark.parametrize("same", [True, False])
def test_an_interrupted_training_can_go_on_with_and_without_the_callback(tmp_path: Path, same: bool) -> None:
    class Interrupt(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            raise KeyboardInterrupt

    model = model_of()
    step, call = model.train_step, model.layers[-1].call
    with new_store(tmp_path / "run") as store:
        callback = AlignmentCallback(store)
        with pytest.raises(KeyboardInterrupt):
            model.fit(loader(), epochs=1, verbose=0, callbacks=[callback, Interrupt()])
        if not same:
            model.fit(IMAGES.numpy(), LABELS.numpy(), epochs=1, verbose=0)
            assert (model.train_step, model.layers[-1].call) == (step, call)
        model.fit(loader(), epochs=1, verbose=0, callbacks=[callback if same else AlignmentCallback(store)])
    assert (model.train_step, model.layers[-1].call) == (step, call)
    assert [store.commit(epoch).missing for epoch in store.epochs] == [0]


def test_mixed_targets_are_recorded_by_evaluation_passes_over_a_loader_that_is_given_or_refused(tmp_path: Path) -> None:
    def mixed(samples: list[Any]) -> Any:
        images, labels, ids = torch.utils.data.default_collate(samples)
        targets = torch.nn.functional.one_hot(labels, CLASSES).float()
        return 0.7 * images + 0.3 * images.flip(0), 0.7 * targets + 0.3 * targets.flip(0), ids

    def soft() -> Any:
        model = model_of()
        loss = keras.losses.CategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(0.01), loss, jit_compile=False)
        return model

    with pytest.raises(RecordingError, match="evaluation_loader="), pytest.warns(UserWarning, match="soft targets"):
        fit(tmp_path / "refused", soft(), loader(collate_fn=mixed))
    model = soft()
    evaluation_loader = DataLoader(dataset(), 50)
    store = fit(tmp_path / "run", model, loader(collate_fn=mixed), callback={"evaluation_loader": evaluation_loader})
    with torch.no_grad():
        expected = torch.nn.functional.cross_entropy(model(IMAGES), LABELS, reduction="none")
    np.testing.assert_allclose(column(store, 1, "loss"), expected, rtol=1e-4, atol=1e-5)
    assert store.commit(1).missing == 0


@pytest.mark.parametrize(
    ("model", "batches", "error", "message"),
    [
        (lambda: model_of("relu"), loader, ModelError, "activation 'relu'.*from_logits=True"),
        (lambda: model_of("sigmoid"), loader, ModelError, "activation 'sigmoid', expected none or 'softmax'"),
        (
            lambda: keras.Sequential([model_of(), keras.layers.Softmax()]),
            loader,
            ModelError,
            "Softmax, not Dense.*head=",
        ),
        (model_of, lambda: DataLoader(TensorDataset(IMAGES, LABELS), BATCH), RecordingError, "WithSampleIds"),
        (
            lambda: keras.Sequential([keras.Input((1, 8, 8)), keras.layers.Flatten(), keras.layers.Dense(7)]),
            loader,
            RecordingError,
            "has 7 outputs.*10 classes",
        ),
    ],
)
def test_what_cannot_be_recorded_is_refused_with_the_remedy(
    tmp_path: Path, model: Any, batches: Any, error: type[Exception], message: str
) -> None:
    built = model()
    built.compile(keras.optimizers.SGD(0.01), "sparse_categorical_crossentropy", jit_compile=False)
    with pytest.raises(error, match=message):
        fit(tmp_path / "run", built, batches())
    assert "train_step" not in vars(built)  # Keras trains it as ever
    assert not any("call" in vars(layer) for layer in built.layers)


def test_a_functional_model_with_a_named_head_records(tmp_path: Path) -> None:
    inputs = keras.Input((1, 8, 8))
    logits = keras.layers.Dense(CLASSES, name="scores")(keras.layers.Flatten()(inputs))
    model = keras.Model(inputs, keras.layers.Rescaling(1.0)(logits))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.01), loss, jit_compile=False)
    store = fit(tmp_path / "run", model, callback={"head": "scores"})
    assert (column(store, 1, "loss").shape, store.commit(1).missing) == ((N,), 0)
