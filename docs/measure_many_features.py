"""Measure what folds change on more than 20,000 samples: docs/benchmarks/detectors.md has the figures.

python docs/measure_many_features.py cifar10/ --weights tf_efficientnet_lite0.pth
python docs/measure_many_features.py cifar10/ --weights tf_efficientnet_lite0.pth --labels CIFAR-10_human.pt \
    --errors worse_label,random_label1,aggre_label
"""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from gwaudit import DataSettings, RankingSettings, TrainingSettings
from gwaudit.analysis.evaluation import quality
from gwaudit.benchmarks.trust.data_sets import features_of, with_wrong_labels
from gwaudit.benchmarks.trust.label_errors import wrong_labels
from gwaudit.core.presets import PRESETS
from gwaudit.data.loading import read_source
from gwaudit.training.frozen_features import extract_features
from gwaudit.training.refinement import rank_run
from gwaudit.training.rounds import rounds_of
from gwaudit.training.trainer import train


def main() -> None:
    """Print the quality of audits of all images, as features, by kind of errors and number of folds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", help="CIFAR-10, as for `gwaudit audit`")
    parser.add_argument("--weights", required=True, help="file with the weights of tf_efficientnet_lite0")
    parser.add_argument("--labels", help="file with labels of people, whose keys `--errors` then names")
    parser.add_argument("--errors", default="uniform,class,feature", help="kinds, or clean, separated by commas")
    parser.add_argument("--rates", default="0.2", help="shares of wrong labels, separated by commas")
    parser.add_argument("--folds", default="1,auto", help="numbers of folds, separated by commas")
    parser.add_argument("--seed", type=int, default=0, help="seed of errors and training")
    arguments = parser.parse_args()
    backbone = replace(PRESETS["pretrained"][0], model="tf_efficientnet_lite0", checkpoint=arguments.weights)
    dataset = extract_features(read_source(DataSettings(arguments.source, image_size=96)), backbone)
    values, truth, n_classes = features_of(dataset), dataset.labels, len(dataset.class_names)
    print("| errors | folds | AP | F1 at the cut, best | flagged | wrong, expected | verdict | s |")
    print("|" + "---|" * 8, flush=True)
    for kind in arguments.errors.split(","):
        for rate in map(float, arguments.rates.split(",")):
            given = truth
            if arguments.labels:
                given = read_source(DataSettings(arguments.source, labels=arguments.labels, label_key=kind)).labels
            elif kind != "clean":
                given = wrong_labels(values, truth, n_classes, kind=kind, rate=rate, seed=arguments.seed)
            for folds in arguments.folds.split(","):
                training = TrainingSettings(folds=folds if folds == "auto" else int(folds), seed=arguments.seed)
                with tempfile.TemporaryDirectory() as folder:
                    start, run = time.monotonic(), Path(folder) / "run"
                    train(with_wrong_labels(dataset, given), run, training)
                    audit = rank_run(rounds_of(run), RankingSettings(force=True))
                seconds, wrong = time.monotonic() - start, given != truth
                found = quality(-audit.by_id("rank").astype(np.float64), wrong, audit.by_id("suspect"))
                print(
                    f"| {kind}, {wrong.mean():.0%} | {folds} | {found.average_precision:.3f} "
                    f"| {found.f1:.3f}, {found.best_f1:.3f} | {found.n_suspects:,} | {wrong.sum():,}, "
                    f"{audit.expected_wrong()[-1]:,.0f} | {audit.verdict.level} | {seconds:.0f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
