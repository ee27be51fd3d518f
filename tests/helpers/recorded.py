"""Recorded runs without a training, and data whose names no program should trust."""

import numpy as np

from gwaudit import TrajectoryStore

HOSTILE = ("<script>alert(1)</script>", '=cmd|"/c calc"!A1', "\u202egnp.exe", "a/b\\c", "x" * 10_000)


def make_run(path, dataset, epochs=6, seed=0):
    """A recorded run of random signals in which the first fifth of the samples opposes its labels."""
    random = np.random.default_rng(seed)
    n, n_classes = len(dataset), len(dataset.class_names)
    against = np.where(np.arange(n) < n // 5, -0.2, 0.2)
    store = TrajectoryStore.create(
        path,
        given_labels=dataset.labels,
        class_names=dataset.class_names,
        keys=list(dataset.keys),
        fingerprint=dataset.fingerprint,
    )
    with store:
        for epoch in range(epochs):
            alignment = (against + random.normal(0, 0.05, n)).astype(np.float32)
            signals = {
                "alignment": alignment,
                "alternative_label": ((dataset.labels + 1) % n_classes).astype(np.int32),
                "alternative_alignment": -alignment,
                "margin": 10 * alignment,
                "loss": np.exp(-alignment).astype(np.float32),
                "given_probability": (0.5 + alignment).clip(0, 1).astype(np.float32),
                "el2n": (1 - alignment).astype(np.float32),
                "predicted_label": np.where(alignment > 0, dataset.labels, (dataset.labels + 1) % n_classes),
            }
            metrics = {"directional_alignment": float(alignment.mean()), "dispersion": 0.1 * epoch, "gwa": 0.1}
            store.append_epoch(epoch, np.arange(n), signals, metrics=metrics)
    return TrajectoryStore.open(path)


def with_a_fifth_wrong(dataset):
    """The same samples with true labels that differ from the given ones where `make_run` opposes them."""
    n, n_classes = len(dataset), len(dataset.class_names)
    truth = np.where(np.arange(n) < n // 5, (dataset.labels + 1) % n_classes, dataset.labels)
    return dataset.with_labels(dataset.labels, true_labels=truth)


def hostile(dataset):
    """The same samples with classes and keys that no program should trust."""
    values = vars(dataset)
    names = (*HOSTILE, *dataset.class_names[len(HOSTILE) :])
    keys = [f"{HOSTILE[i % len(HOSTILE)]}{i}" for i in range(len(dataset))]
    return type(dataset)(**{**values, "class_names": names, "keys": keys})
