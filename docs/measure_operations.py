"""Measure what more operations find: F1 of the suspects against the floating-point operations of the trainings.

    python docs/measure_operations.py cifar10/ CIFAR-10_human.pt --checkpoint tf_efficientnet_lite0.pth -o runs

It prints a table and draws a figure. `--sets` and `--plans` choose some of them, `--processes` runs several side by
side, and finished rows in the output folder are not measured again.

The sets `confused-K` are made here: K % of the right labels are replaced by a draw from the class probabilities of a
linear head on features of the network in `--checkpoint`, fitted to the other half of the images. So they are wrong
where a network of another kind confuses images. They choose between plans; the keys of the label file test.
"""

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import timm
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from gwaudit import RankingSettings, TrainingSettings, evaluate, load_dataset
from gwaudit.benchmarks.detection.figures import PUBLISHED
from gwaudit.core.presets import PRESETS, RECIPES
from gwaudit.data.dataset import LabeledDataset
from gwaudit.data.label_files import read_label_file
from gwaudit.training.models import build_model
from gwaudit.training.refinement import rank_run, refined_targets
from gwaudit.training.trainer import predict, train

SETS = ("confused-40", "confused-18", "worse_label", "random_label1", "aggre_label")
_SIZE = 96  # pixels of an image for the network whose confusions are drawn


def _whitened(model: str, epochs: Sequence[int]) -> tuple[TrainingSettings, ...]:
    """Return a first training, whose odds need no final passes, and rounds of the recipe `whitened`."""
    recipe = replace(RECIPES["whitened"][0], model=model)
    first = replace(recipe, epochs=epochs[0], final_passes=0)
    return (first, *(replace(recipe, epochs=n, seed=k) for k, n in enumerate(epochs[1:], 1)))


def _plans() -> dict[str, tuple[TrainingSettings, ...]]:
    first, rounds = PRESETS["fast"]
    resnet, resnet_rounds = PRESETS["quality"]
    return {
        "fast": (first, *(rounds.training(first, k) for k in (1, 2))),
        "fast, four rounds": (first, *(rounds.training(first, k) for k in (1, 2, 3, 4))),
        "fast, a wide round": (
            first,
            *(rounds.training(first, k) for k in (1, 2)),
            replace(rounds.training(first, 3), model="whitened_64"),
        ),
        "fast, short rounds": (first, *(replace(RECIPES["whitened"][0], seed=k) for k in (1, 2))),
        "resnet9_16, 12 epochs": (replace(first, epochs=12),),
        "scratch-5min": (PRESETS["scratch-5min"][0],),
        "whitened_32, 10 epochs three times": _whitened("whitened_32", (10, 10, 10)),
        "whitened_32, 20 epochs three times": _whitened("whitened_32", (20, 20, 20)),
        "whitened_64, 10 epochs three times": _whitened("whitened_64", (10, 10, 10)),
        "whitened_64, 20 epochs three times": _whitened("whitened_64", (20, 20, 20)),
        "whitened_64, 40 epochs three times": _whitened("whitened_64", (40, 40, 40)),
        "quality, a sixth": (
            replace(resnet, epochs=5),
            replace(resnet_rounds.training(resnet, 1), epochs=10),
            replace(resnet_rounds.training(resnet, 2), epochs=10),
        ),
        "quality": (resnet, *(resnet_rounds.training(resnet, k) for k in (1, 2))),
    }


PLANS = _plans()


@dataclass(frozen=True)
class Row:
    """Hold what a plan found on a set, F1 at the own cut and the best possible."""

    set: str
    plan: str
    after_round: int
    operations: float
    f1: float
    best_f1: float
    average_precision: float
    suggestions_right: float
    test_accuracy: float
    expected_wrong: float
    true_wrong: int
    seconds: float
    device: str


def main() -> None:
    """Measure the plans on the sets, and print the rows as a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cifar10")
    parser.add_argument("labels")
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("-o", "--output", required=True, type=Path)
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--plans", default=";".join(PLANS), help="separated by semicolons")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    jobs = [(name, plan) for plan in args.plans.split(";") for name in args.sets.split(",")]
    unmeasured = [job for job in jobs if not _rows_file(args.output, *job, args.seed).exists()]
    if any(name.startswith("confused-") for name, _ in unmeasured):
        confused_labels(load_dataset(args.cifar10), args.checkpoint, args.output)
    with ProcessPoolExecutor(args.processes, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(_measure, args.cifar10, args.labels, *job, args.output, args.seed) for job in unmeasured]
        for future in as_completed(futures):
            for row in future.result():
                print(json.dumps(asdict(row)), flush=True)
    rows = _sorted_rows(args.output)
    print(_table(rows))
    _figure(rows).savefig(args.output / "operations.svg")


def confused_labels(dataset: LabeledDataset, checkpoint: str, folder: Path) -> NDArray[np.float64]:
    """Return class probabilities of linear heads on pretrained features, [n, C]; each half's by the other's head."""
    file = folder / "confusions.npy"
    if file.exists():
        return np.asarray(np.load(file))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = timm.create_model("tf_efficientnet_lite0", checkpoint_path=checkpoint).to(device).eval()
    features = []
    with torch.no_grad():
        for ids in torch.arange(len(dataset)).split(500):
            images = functional.interpolate(dataset.read(ids).float().to(device), size=_SIZE, mode="bilinear")
            normal = (images / 127.5 - 1).contiguous(memory_format=torch.channels_last)
            features.append(network.forward_head(network.forward_features(normal), pre_logits=True).cpu())
    x = torch.cat(features).numpy()
    x = (x - x.mean(0)) / np.maximum(x.std(0), 1e-3)
    first = np.random.default_rng(5).random(len(x)) < 0.5
    probabilities = np.empty((len(x), len(dataset.class_names)))
    for half in (first, ~first):
        head = LogisticRegression(C=1e-3, max_iter=100).fit(x[half], dataset.labels[half])
        probabilities[~half] = head.predict_proba(x[~half])
    np.save(file, probabilities)
    return probabilities


def _labels(name: str, dataset: LabeledDataset, labels: str, folder: Path) -> NDArray[np.int64]:
    if not name.startswith("confused-"):
        return read_label_file(Path(labels), name, dataset.class_names)[0]
    rate, truth = int(name.removeprefix("confused-")) / 100, dataset.labels
    logs, random = np.log(np.load(folder / "confusions.npy").clip(1e-9)), np.random.default_rng(rate_seed(name))
    low, high = 1.0, 50.0  # temperatures; a higher one draws more wrong labels
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if _share_wrong(logs, truth, middle) > rate else (middle, high)
    drawn = (_tempered(logs, high).cumsum(1) > random.random((len(truth), 1))).argmax(1)
    is_drawn = random.random(len(truth)) < min(1, rate / _share_wrong(logs, truth, high))
    return np.where(is_drawn, drawn, truth)


def rate_seed(name: str) -> int:
    """Return the seed of the draws of a set."""
    return 1000 + int(name.removeprefix("confused-"))


def _tempered(logs: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    powers = np.exp((logs - logs.max(1, keepdims=True)) / temperature)
    return np.asarray(powers / powers.sum(1, keepdims=True))


def _share_wrong(logs: NDArray[np.float64], truth: NDArray[np.int64], temperature: float) -> float:
    return float(1 - _tempered(logs, temperature)[np.arange(len(truth)), truth].mean())


def _rows_file(folder: Path, name: str, plan: str, seed: int) -> Path:
    return folder / f"{name}-{plan}-{seed}.json".replace(" ", "_").replace(",", "")


def _measure(cifar10: str, labels: str, name: str, plan: str, folder: Path, seed: int) -> list[Row]:
    original = load_dataset(cifar10)
    dataset = original.with_labels(_labels(name, original, labels, folder), true_labels=original.labels)
    test = load_dataset(cifar10, split="test")
    runs: list[Path] = []
    rows, operations, start = [], 0.0, time.monotonic()
    for number, given in enumerate(PLANS[plan]):
        run = folder / "runs" / _rows_file(folder, name, plan, seed).stem / str(number)
        settings = replace(given, seed=seed * 1000 + number, latents="none", pretrained=False)
        targets = refined_targets(dataset, runs) if number else None
        train(dataset, run, settings, resume=True, targets=targets)
        operations += _operations(
            settings.model, int(settings.epochs if settings.epochs != "auto" else 30), len(dataset)
        )
        runs.append(run)
        result = evaluate(rank_run(runs, RankingSettings(force=True)), original.labels)
        accuracy = (predict(run, dataset, test).argmax(1).numpy() == test.labels).mean()
        rows.append(
            Row(
                name,
                plan,
                number,
                operations,
                *(round(v, 4) for v in (result.f1, result.best_f1, result.average_precision)),
                round(result.suggested_accuracy_flagged, 4),
                round(float(accuracy), 4),
                round(result.expected_wrong),
                result.n_wrong,
                round(time.monotonic() - start, 1),
                torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU",
            )
        )
    _rows_file(folder, name, plan, seed).write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    return rows


def _operations(model: str, epochs: int, n_images: int) -> float:
    """Return the floating-point operations of a training: a backward pass takes two forward passes."""
    network = build_model("resnet9_16" if model == "auto" else model, n_classes=10)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(2, 3, 32, 32))
    return 3.0 * counter.get_total_flops() / 2 * n_images * epochs


def _sorted_rows(folder: Path) -> list[dict[str, Any]]:
    rows = [row for file in sorted(folder.glob("*.json")) for row in json.loads(file.read_text())]
    return sorted(rows, key=lambda row: (SETS.index(row["set"]), row["operations"]))


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    head = "| set | plan | trainings | operations | F1 at the cut | best F1 | AP | suggestions right | test accuracy |"
    body = [
        f"| {r['set']} | {r['plan']} | {r['after_round'] + 1} | {r['operations']:.2g} | {r['f1']:.3f} "
        f"| {r['best_f1']:.3f} | {r['average_precision']:.3f} "
        f"| {r['suggestions_right']:.1%} | {r['test_accuracy']:.1%} |"
        for r in rows
    ]
    return "\n".join([head, "|---|---|--:|--:|--:|--:|--:|--:|--:|", *body])


def _figure(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw F1 at the cut against operations, a panel a label set by people, with other methods as lines."""
    names = [name for name in SETS if name in PUBLISHED and any(row["set"] == name for row in rows)]
    figure, panels = plt.subplots(1, max(1, len(names)), figsize=(4 * max(1, len(names)), 3.6), squeeze=False)
    for axes, name in zip(panels[0], names, strict=False):
        for plan in dict.fromkeys(row["plan"] for row in rows if row["set"] == name):
            of_plan = [row for row in rows if (row["set"], row["plan"]) == (name, plan)]
            axes.plot([r["operations"] for r in of_plan], [r["f1"] for r in of_plan], "o-", ms=4, label=plan)
        for label, f1 in PUBLISHED[name].items():
            axes.axhline(f1, color="grey", lw=0.8, ls=":")
            axes.text(axes.get_xlim()[0], f1, f" {label}", fontsize=7, va="bottom")
        axes.set(xscale="log", title=name, xlabel="floating-point operations", ylabel="F1 at the cut")
    panels[0][0].legend(fontsize=6)
    figure.tight_layout()
    return figure


if __name__ == "__main__":
    main()
