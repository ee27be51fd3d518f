"""Build recorded runs without a training."""

import numpy as np

from gwaudit import TrajectoryStore
from gwaudit.core.settings import TrainingSettings
from gwaudit.data.summary import summarise
from gwaudit.pipeline.run_data import load_data
from gwaudit.store.store import SIGNALS
from gwaudit.training.automatic_settings import resolve_for
from helpers.audits import make_audit


def make_run(path, dataset, epochs=6, seed=0, **settings):
    """Return a recorded run of random signals in which the first fifth of the samples opposes its labels."""
    random = np.random.default_rng(seed)
    n, n_classes = len(dataset), len(dataset.class_names)
    against = np.where(np.arange(n) < n // 5, -0.2, 0.2)
    store = TrajectoryStore.create(
        path,
        given_labels=dataset.labels,
        class_names=dataset.class_names,
        keys=list(dataset.keys),
        fingerprint=dataset.fingerprint,
        **settings,
    )
    with store:
        for epoch in range(epochs):
            alignment = (against + random.normal(0, 0.05, n)).astype(np.float32)
            signals = {
                "alignment": alignment,
                "alternative_label": ((dataset.labels + 1) % n_classes).astype(np.int32),
                "alternative_alignment": -alignment,
                "margin": 10 * alignment,
                "loss": np.logaddexp(0, -10 * alignment).astype(np.float32),
                "given_probability": (0.5 + alignment).clip(0, 1).astype(np.float32),
                "el2n": (1 - alignment).astype(np.float32),
                "predicted_label": np.where(alignment > 0, dataset.labels, (dataset.labels + 1) % n_classes),
            }
            metrics = {"directional_alignment": float(alignment.mean()), "dispersion": 0.1 * epoch, "gwa": 0.1}
            store.append_epoch(epoch, np.arange(n), signals, metrics=metrics)
    return TrajectoryStore.open(path)


def with_a_fifth_wrong(dataset):
    """Return the same samples with true labels that differ from the given ones where `make_run` opposes them."""
    n, n_classes = len(dataset), len(dataset.class_names)
    truth = np.where(np.arange(n) < n // 5, (dataset.labels + 1) % n_classes, dataset.labels)
    return dataset.with_labels(dataset.labels, true_labels=truth)


def ranked_run(folder, data=None, *, dataset=None, training=None, gwa=0.1, **ranking):
    """Return the audit, saved, of a run of one made-up epoch over data, or over a data set."""
    dataset = load_data(data) if dataset is None else dataset
    settings = {}
    if data:
        training = resolve_for(dataset, training or TrainingSettings())
        reading = summarise(dataset, data.source)
        settings = {"training": training.to_dict(), "data": data.to_dict(), "reading": reading.to_dict()}
    n = len(dataset)
    with TrajectoryStore.create(
        folder,
        given_labels=dataset.labels,
        class_names=dataset.class_names,
        keys=dataset.keys,
        settings=settings,
        fingerprint=dataset.fingerprint,
    ) as store:
        metrics = {"directional_alignment": 0.1, "dispersion": 0.5, "gwa": gwa, "accuracy_on_given": 0.75}
        store.append_epoch(0, np.arange(n), {k: np.zeros(n, v) for k, v in SIGNALS.items()}, metrics=metrics)
    audit = make_audit(
        dataset.keys, dataset.labels, dataset.class_names, run=folder, fingerprint=dataset.fingerprint, **ranking
    )
    audit.save(folder)
    return audit
