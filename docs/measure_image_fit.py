"""Measure `--fit` on images that are not square: CIFAR-10 test images, half of them off the centre of wide canvases.

    python docs/measure_image_fit.py cifar10/test-00000-of-00001.parquet --weights tf_efficientnet_lite0.pth

It prints the table of docs/howto/photos.md: average precision of the added label errors, for each way to fit the images
and each share of wide images, with a frozen EfficientNet-Lite0 at 96 pixels.
"""

import argparse
import io
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from gwaudit import DataSettings, TrainingSettings, audit

N, HEIGHT, WIDTH = 1000, 200, 640


def make_images(table: Path, folder: Path, share_wide: float, seed: int) -> None:
    """Write a folder per class: plain squares, and wide canvases of noise with the square at a random place."""
    rows = pd.read_parquet(table).head(N)
    image, label = rows.columns[0], rows.columns[1]
    rng = np.random.default_rng(seed)
    for i, row in enumerate(rows.to_dict("records")):
        picture = Image.open(io.BytesIO(row[image]["bytes"])).convert("RGB").resize((HEIGHT, HEIGHT))
        if rng.random() < share_wide:
            coarse = rng.integers(60, 190, (5, 16, 3), np.uint8)
            canvas = Image.fromarray(coarse).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
            canvas.paste(picture, (int(rng.integers(0, WIDTH - HEIGHT + 1)), 0))
            picture = canvas
        (folder / str(row[label])).mkdir(parents=True, exist_ok=True)
        picture.save(folder / str(row[label]) / f"{i:04d}.jpg", quality=95)


def main() -> None:
    """Print a row for each share of wide images and way to fit them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("table", type=Path)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    training = TrainingSettings(
        model="tf_efficientnet_lite0",
        checkpoint=options.weights,
        backbone="frozen",
        batch_size=128,
        dtype="float32",
    )
    print("wide   fit     average precision")
    with tempfile.TemporaryDirectory() as temporary:
        for share in (0.5, 1.0):
            folder = Path(temporary) / f"wide-{share}"
            make_images(options.table, folder, share, options.seed)
            for fit in ("crop", "pad", "squash"):
                data = DataSettings(str(folder), image_size=96, fit=fit, add_noise=0.2, add_noise_seed=options.seed)
                result = audit(data, Path(temporary) / f"run-{share}-{fit}", training)
                print(f"{share:4.0%}   {fit:6}  {result.evaluation.average_precision:.3f}", flush=True)


if __name__ == "__main__":
    main()
