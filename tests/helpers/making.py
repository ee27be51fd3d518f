"""Make small data sets on disk, in the layouts that gwaudit reads."""

import dataclasses
import io
import json
import pickle

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image

from gwaudit.data.inputs import InMemory
from gwaudit.data.loading import load_dataset


def few_digits(n=600):
    """Return the first of scikit-learn's digits, which train in tenths of a second."""
    dataset = load_dataset("digits")
    inputs = InMemory(dataset.inputs.values[:n])
    return dataclasses.replace(dataset, inputs=inputs, labels=dataset.labels[:n], keys=dataset.keys[:n])


def few_digits_file(path, n=400):
    """Write the first of scikit-learn's digits as an `.npz`, and return its path."""
    digits = few_digits(n)
    np.savez(path, images=all_pixels(digits), labels=digits.labels)
    return path


def all_pixels(dataset):
    """Return the inputs of all samples as an array."""
    return dataset.read(torch.arange(len(dataset))).numpy()


def picture(seed, size=(16, 16), mode="RGB"):
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    return Image.fromarray(pixels).convert(mode)


def png(seed, size=(16, 16)):
    content = io.BytesIO()
    picture(seed, size).save(content, "PNG")
    return content.getvalue()


def make_tree(root, classes=("cat", "dog"), per_class=3, size=(16, 16)):
    """Make a folder for each class, and return the paths of the images in the order of their ids."""
    paths = []
    for label, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for i in range(per_class):
            path = root / name / f"{i:03d}.png"
            picture(100 * label + i, size).save(path)
            paths.append(path)
    return paths


def make_photo_table(folder, rows):
    """Make ten images and a table of them, (path, label, id), followed by these rows; return the table's path."""
    for i in range(10):
        picture(i).save(folder / f"{i}.png")
    usable = [(f"{i}.png", ("cat", "dog")[i % 2], f"id{i}") for i in range(10)]
    pd.DataFrame([*usable, *rows], columns=["path", "label", "id"]).to_csv(folder / "mine.csv", index=False)
    return folder / "mine.csv"


def make_parquet(path, contents, labels, names=None, image="img", label="label", paths=None):
    """Make one file in the layout of Hugging Face data sets."""
    rows = [{"bytes": c, "path": None if paths is None else paths[i]} for i, c in enumerate(contents)]
    fields = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({image: pa.array(rows, fields), label: pa.array(labels, pa.int64())})
    if names is not None:
        features = {label: {"_type": "ClassLabel", "names": list(names)}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
    return path


def make_cifar_batches(folder, per_batch=4):
    """Make a small `cifar-10-batches-py`, and return all training images and labels."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    images, labels = [], []
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        data = random.integers(0, 256, (per_batch, 3072), np.uint8)
        given = random.integers(0, 10, per_batch).tolist()
        batch = {b"data": data, b"labels": given, b"filenames": [b"x.png"] * per_batch}
        (folder / name).write_bytes(pickle.dumps(batch, protocol=2))
        if name != "test_batch":
            images.append(data)
            labels += given
    names = {b"label_names": [f"class {i}".encode() for i in range(10)]}
    (folder / "batches.meta").write_bytes(pickle.dumps(names, protocol=2))
    return np.concatenate(images).reshape(-1, 3, 32, 32), labels


def make_cifar_n(path, clean, **noisy):
    """Make a label file as CIFAR-N publishes them: a pickled dictionary of arrays."""
    torch.save({"clean_label": np.asarray(clean), **{k: np.asarray(v) for k, v in noisy.items()}}, path)
    return path


class Unreadable:
    """Hold images of which those after the fourth can no longer be read."""

    def __init__(self, images):
        self.images = images
        self.shape = images.shape

    def __len__(self):
        return len(self.images)

    def add_to(self, digest):
        self.images.add_to(digest)

    def read(self, sample_ids):
        if sample_ids[0] > 4:
            raise OSError("gone")
        return self.images.read(sample_ids)


class Malicious:
    """Create a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")
