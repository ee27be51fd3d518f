"""Measure what mirrored views add to frozen features: docs/howto/pretrained.md has the figures.

python docs/measure_views.py TEST.parquet --weights tf_efficientnet_lite0.pth
"""

import argparse
import io

import numpy as np
import pyarrow.parquet as pq
import timm
import torch
from PIL import Image
from sklearn.metrics import average_precision_score

from gwaudit.core.settings import ResolvedTrainingSettings
from gwaudit.training.fold_heads import FoldHeads, assign_heads, held_out_log_probabilities
from gwaudit.training.loss import Loss

SIDE, N = 96, 400
ALIKE = {9: 1, 2: 0, 4: 7, 3: 5, 5: 3}
"""The class that each class of CIFAR-10 is taken for: truck, bird, deer, cat, dog."""


def main() -> None:
    """Print average precision for one view and for two, by kind and share of wrong labels, means of three seeds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parquet", help="CIFAR-10's test images")
    parser.add_argument("--weights", required=True, help="file with the weights of tf_efficientnet_lite0")
    arguments = parser.parse_args()
    table = pq.read_table(arguments.parquet).slice(0, N)
    labels = np.array(table["label"].to_pylist())
    column = next(name for name in table.column_names if name != "label")
    features = compute_features([image["bytes"] for image in table[column].to_pylist()], arguments.weights)
    for kind in ("symmetric", "asymmetric"):
        for share in (0.1, 0.3):
            rows = []
            for seed in range(3):
                given = with_errors(labels, kind, share, seed)
                rows.append([precision(values, given, given != labels) for values in (features[0], features.mean(0))])
            one, two = np.mean(rows, 0)
            print(f"{kind}, {share:.0%}: one view {one:.3f}, two views {two:.3f}")


def compute_features(images: list[bytes], weights: str) -> np.ndarray:
    """Return the features of images as they are and mirrored, [2, n, D]."""
    model = timm.create_model("tf_efficientnet_lite0")
    model.load_state_dict(torch.load(weights, weights_only=True))
    sized = [Image.open(io.BytesIO(image)).convert("RGB").resize((SIDE, SIDE), Image.BICUBIC) for image in images]
    pixels = torch.from_numpy(np.stack([np.asarray(image) for image in sized])).permute(0, 3, 1, 2)
    found = []
    with torch.no_grad():
        for batch in pixels.split(32):
            normal = (batch.float() / 255 - 0.5) / 0.5
            views = torch.cat([normal, normal.flip(3)])
            latents = model.eval().forward_head(model.forward_features(views), pre_logits=True)
            found.append(latents.reshape(2, len(batch), -1))
    return torch.cat(found, 1).numpy()


def with_errors(labels: np.ndarray, kind: str, share: float, seed: int) -> np.ndarray:
    """Return labels of which a share is wrong."""
    random, given = np.random.default_rng(seed), labels.copy()
    ids = random.permutation(N)
    if kind == "symmetric":
        ids = ids[: int(N * share)]
        given[ids] = (labels[ids] + random.integers(1, 10, len(ids))) % 10
    else:
        ids = [i for i in ids if int(labels[i]) in ALIKE][: int(N * share)]
        given[ids] = [ALIKE[int(labels[i])] for i in ids]
    return given


def precision(features: np.ndarray, given: np.ndarray, wrong: np.ndarray) -> float:
    """Return the average precision of the held-out margins of linear heads in ten folds."""
    scaled = (features - features.mean(0)) / np.maximum(features.std(0), 1e-6)
    inputs, labels, samples = torch.from_numpy(scaled).float(), torch.from_numpy(given), torch.arange(N)
    settings = ResolvedTrainingSettings(epochs=12, batch_size=40, learning_rate=0.02, weight_decay=0.05, folds=10)
    torch.manual_seed(0)
    heads = FoldHeads("linear", n_features=inputs.shape[1], n_classes=10, n_heads=10)
    left_out, loss = assign_heads(labels, 10, 1, 0), Loss(labels, 10, settings)
    predicted = held_out_log_probabilities(inputs, labels, left_out, heads, loss, settings)
    own = predicted[samples, labels].clone()
    predicted[samples, labels] = -torch.inf
    return float(average_precision_score(wrong, (predicted.max(1).values - own).numpy()))


if __name__ == "__main__":
    main()
