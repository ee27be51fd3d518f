"""Measure how many wrong labels a network trained from scratch finds among few images.

    python docs/measure_small_images.py cifar10/

It prints the table of docs/benchmarks/small-data.md, a row for each number of images and kind of label errors. The
images are rows of the training split of CIFAR-10 from 20,000 on; the settings were chosen on rows before 10,000.
`--large` trains with the settings of 50,000 images instead.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

from gwaudit import (
    LabeledDataset,
    RankingSettings,
    TrainingSettings,
    TrajectoryStore,
    add_label_noise,
    evaluate,
    load_dataset,
    rank,
    train,
)
from gwaudit.core.settings import ResolvedTrainingSettings
from gwaudit.data.label_noise import with_label_noise

FIRST = 20_000


def with_errors(clean: LabeledDataset, kind: str, seed: int) -> LabeledDataset:
    """Return the data set with label errors: none, a tenth at random, or a fifth mostly between similar classes."""
    if kind == "uniform 10 %":
        wrong = add_label_noise(clean.labels, len(clean.class_names), rate=0.1, seed=seed)
        return clean.with_labels(wrong, true_labels=clean.labels)
    if kind == "similar 20 %":
        return with_label_noise(clean, 0.2, seed)
    return clean.with_labels(clean.labels, true_labels=clean.labels)


def main() -> None:
    """Print a row for each number of images and kind of label errors."""
    parser = argparse.ArgumentParser()
    parser.add_argument("source")
    parser.add_argument("--images", type=int, nargs="+", default=[300, 600, 2000])
    parser.add_argument("--errors", nargs="+", default=["none", "uniform 10 %", "similar 20 %"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--large", action="store_true")
    options = parser.parse_args()
    training = (ResolvedTrainingSettings if options.large else TrainingSettings)(seed=options.seed)
    everything = load_dataset(options.source)
    print("| images | errors | verdict | flagged | AP | F1 at the cut | best F1 |\n|---|---|---|---|---|---|---|")
    for n in options.images:
        for kind in options.errors:
            data = with_errors(everything.subset(np.arange(FIRST, FIRST + n)), kind, options.seed)
            with tempfile.TemporaryDirectory() as folder:
                train(data, Path(folder) / "run", training)
                with TrajectoryStore.open(Path(folder) / "run") as store:
                    audit = rank(store, RankingSettings(force=True))  # the cut, at any verdict
            found = evaluate(audit, data.true_labels)
            shares = (found.average_precision, found.f1, found.best_f1)
            shown = " | ".join("–" if found.n_wrong == 0 else f"{share:.2f}" for share in shares)
            print(f"| {n} | {kind} | {audit.verdict.level} | {len(audit.suspects)} | {shown} |", flush=True)


if __name__ == "__main__":
    main()
