"""Draw docs/images/alignment.png: the alignment of right and of wrong labels over the epochs of the demo's training.

    python docs/make_alignment_picture.py

It needs the extra `notebook` (matplotlib) and takes less than a minute.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt
import numpy as np

from gwaudit import DataSettings, TrainingSettings, TrajectoryStore, audit

PICTURE = Path(__file__).parent / "images" / "alignment.png"
COLOURS = {"right label": "#0072B2", "wrong label": "#D55E00"}  # of Okabe and Ito: distinct for colour-blind readers


def main() -> None:
    """Train on digits of which one label in ten is wrong, and draw what was recorded."""
    with TemporaryDirectory() as folder:
        run = Path(folder) / "digits"
        data = DataSettings("digits", add_noise=0.1)
        training = TrainingSettings(epochs=20, batch_size=64, learning_rate=0.1, label_smoothing=0.0, clip_norm=None)
        result = audit(data, run, training)
        wrong = result.dataset.labels != result.dataset.true_labels
        store = TrajectoryStore.open(run)
        alignment = np.stack([store.read_block(epoch, 0, ["alignment"])["alignment"] for epoch in store.epochs])
    draw(alignment, wrong, PICTURE)


def draw(alignment: np.ndarray, wrong: np.ndarray, path: Path) -> None:
    """Draw the median and the middle 80 % of both groups.

    Args:
        alignment: [epochs, n] alignment γ of each sample in each epoch.
        wrong: [n] whether the given label is wrong.
        path: Of the picture.
    """
    epochs = np.arange(1, len(alignment) + 1)
    figure, axes = plt.subplots(figsize=(7, 3.4), layout="constrained")
    for (name, colour), chosen in zip(COLOURS.items(), (~wrong, wrong), strict=True):
        low, middle, high = np.nanquantile(alignment[:, chosen], [0.1, 0.5, 0.9], axis=1)
        axes.fill_between(epochs, low, high, color=colour, alpha=0.2, linewidth=0)
        axes.plot(epochs, middle, color=colour, linewidth=2)
        axes.annotate(
            f"{name} ({chosen.sum():,} samples)", (epochs[-1], middle[-1]), (0, 4), textcoords="offset points",
            color=colour, ha="right", va="bottom",
        )  # fmt: skip
    axes.axhline(0, color="black", linewidth=0.8)
    at_the_right = {"xycoords": ("axes fraction", "data"), "rotation": 90, "color": "#555555", "fontsize": 8}
    axes.annotate("agrees with the weights", (1.01, 0.01), va="bottom", **at_the_right)
    axes.annotate("opposes the weights", (1.01, -0.01), va="top", **at_the_right)
    axes.set(xlabel="epoch", ylabel="alignment γ", xticks=epochs[1::2])
    axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    main()
