"""A label that was changed is found under its own key and id, from every kind of source."""

import csv
import io
import json
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import get_args, get_type_hints

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from gwaudit import DataSettings, TrainingSettings, audit, load_dataset, rank, train
from gwaudit.core.errors import DataError, SettingsError
from gwaudit.data import loading
from gwaudit.data.inputs import features
from gwaudit.data.labels import class_indices
from gwaudit.data.readers.raw_samples import RawSamples, default_keys
from gwaudit.store.store import TrajectoryStore
from helpers.making import make_tree

N, WRONG = 80, 37
NAMES = ("dark", "light")


def pixels():
    """Dark and light pictures [N, 8, 8, 3], of which one light one is called dark."""
    random = np.random.default_rng(0)
    truth = np.arange(N) % 2
    level = np.where(truth == 1, 170, 60)[:, None, None, None]
    images = (level + random.integers(-40, 40, (N, 8, 8, 3))).astype(np.uint8)
    given = truth.copy()
    given[WRONG] = 1 - given[WRONG]
    return images, given


IMAGES, GIVEN = pixels()


def png(i):
    content = io.BytesIO()
    Image.fromarray(IMAGES[i]).save(content, "PNG")
    return content.getvalue()


def image_folder(root):
    for i in range(N):
        path = root / "train" / NAMES[GIVEN[i]] / "deeper" / f"{i:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(i))
    return root, f"train/{NAMES[GIVEN[WRONG]]}/deeper/{WRONG:03d}.png"


def files(root):
    (root / "pictures").mkdir(parents=True)
    for i in range(N):
        (root / "pictures" / f"{i:03d}.png").write_bytes(png(i))
    return [f"pictures/{i:03d}.png" for i in range(N)]


def csv_of_paths(root):
    paths = files(root)
    with (root / "mine.csv").open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file).writerows([("path", "label"), *((paths[i], NAMES[GIVEN[i]]) for i in range(N))])
    return root / "mine.csv", f"pictures/{WRONG:03d}.png"


def metadata_beside_images(root):
    paths = files(root)
    lines = [json.dumps({"file_name": paths[i], "label": int(GIVEN[i])}) for i in range(N)]
    (root / "metadata.jsonl").write_text("\n".join(lines))
    return root, f"pictures/{WRONG:03d}.png"


def json_lines_of_features(root):
    rows = [
        {"embedding": IMAGES[i].ravel()[:12].tolist(), "label": NAMES[GIVEN[i]], "id": f"row-{i}"} for i in range(N)
    ]
    (root / "mine.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return root / "mine.jsonl", f"row-{WRONG}"


def csv_of_numbers(root):
    frame = pd.DataFrame(IMAGES.reshape(N, -1)[:, :5], columns=list("abcde"))
    frame["class"], frame["id"] = [NAMES[given] for given in GIVEN], [f"{i:03d}" for i in range(N)]
    frame.to_csv(root / "mine.csv", index=False)
    return root / "mine.csv", f"{WRONG:03d}"


def parquet_of_bytes(root):
    table = pa.table(
        {"image": pa.array([png(i) for i in range(N)]), "label": GIVEN, "key": [f"k{i}" for i in range(N)]}
    )
    pq.write_table(table, root / "mine.parquet")
    return root / "mine.parquet", f"k{WRONG}"


def hugging_face():
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list(NAMES))})
    content = {"image": [{"bytes": png(i), "path": None} for i in range(N)], "label": GIVEN.tolist()}
    return datasets.Dataset.from_dict(content, features=features)


def saved_arrow_folder(root):
    datasets.DatasetDict({"train": hugging_face()}).save_to_disk(root / "saved")
    return root / "saved", f"train/{WRONG:06d}"


def shuffled_filtered_hugging_face(_root):
    dataset = hugging_face().shuffle(seed=3).filter(lambda row: True).select(range(2, N))
    return (dataset, f"train/{WRONG:06d}") if has_wrong(dataset) else pytest.fail("the changed sample was left out")


def has_wrong(dataset):
    return any(row["bytes"] == png(WRONG) for row in dataset.with_format("arrow")[:]["image"].to_pylist())


def named_as_on_the_hub(root):
    """The library that loads from the hub also loads a folder by its path."""
    (root / "mine" / "data").mkdir(parents=True)
    hugging_face().to_parquet(root / "mine" / "data" / "train-00000-of-00001.parquet")
    return f"hf:{root / 'mine'}", f"train/{WRONG:06d}"


def npz_of_images(root):
    np.savez(
        root / "mine.npz", x=IMAGES, y=GIVEN, class_names=np.array(NAMES), keys=np.array([f"i{i}" for i in range(N)])
    )
    return root / "mine.npz", f"i{WRONG}"


def torch_dataset(_root):
    tensors = torch.utils.data.TensorDataset(
        torch.from_numpy(IMAGES).permute(0, 3, 1, 2).float() / 255, torch.tensor(GIVEN)
    )
    parts = [torch.utils.data.Subset(tensors, list(range(N // 2, N))), torch.utils.data.Subset(tensors, range(N // 2))]
    return torch.utils.data.ConcatDataset(parts), f"1/{WRONG}"


class PicturesWithLabels(torch.utils.data.Dataset):
    classes = NAMES

    def __len__(self):
        return N

    def __getitem__(self, i):
        return Image.fromarray(IMAGES[i]), int(GIVEN[i])


def dataset_of_pictures(_root):
    return PicturesWithLabels(), str(WRONG)


def shards(root):
    for shard, rows in enumerate(np.array_split(np.random.default_rng(1).permutation(N), 3)):
        with tarfile.open(root / f"train-{shard:03d}.tar", "w") as tar:
            for i in rows.tolist():
                for name, content in ((f"p/{i:03d}.png", png(i)), (f"p/{i:03d}.cls", str(GIVEN[i]).encode())):
                    member = tarfile.TarInfo(name)
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
    return root, f"p/{WRONG:03d}"


SOURCES = [
    image_folder, csv_of_paths, metadata_beside_images, json_lines_of_features, csv_of_numbers, parquet_of_bytes,
    saved_arrow_folder, shuffled_filtered_hugging_face, named_as_on_the_hub, npz_of_images, torch_dataset,
    dataset_of_pictures, shards,
]  # fmt: skip


@pytest.mark.parametrize("make", SOURCES, ids=[make.__name__ for make in SOURCES])
def test_a_changed_label_is_found_under_its_own_key(tmp_path, make):
    source, key = make(tmp_path)
    dataset = load_dataset(source)
    settings = TrainingSettings(
        epochs=6, batch_size=32, learning_rate=0.05, augment="none", label_smoothing=0.0, clip_norm=None
    )
    train(dataset, tmp_path / "run", settings)
    train(dataset, tmp_path / "run", settings, resume=True)
    with TrajectoryStore.open(tmp_path / "run") as store:
        assert rank(store).frame["key"].iloc[0] == key
        sample_id = store.find(key)
        assert dataset.keys[sample_id] == key
        # A mean over the epochs after the first: in a single one rounding, so the dtype, can decide the sign.
        means = np.mean([store.read_block(epoch, 0, ("alignment",))["alignment"] for epoch in range(1, 6)], axis=0)
        assert means[sample_id] < 0 < np.delete(means, sample_id).min()


def test_every_image_source_gives_the_same_pixels_under_the_same_names(tmp_path):
    for make in (image_folder, csv_of_paths, parquet_of_bytes, saved_arrow_folder, npz_of_images, shards):
        (tmp_path / make.__name__).mkdir()
        dataset = load_dataset(make(tmp_path / make.__name__)[0])
        for sample_id, key in enumerate(dataset.keys):
            number = int("".join(c for c in key.rpartition("/")[2] if c.isdigit()))
            np.testing.assert_array_equal(np.asarray(dataset.image(sample_id)), IMAGES[number])
            assert dataset.labels[sample_id] == GIVEN[number]


def test_labels_may_be_numbers_with_gaps_or_names_that_look_missing(tmp_path):
    frame = pd.DataFrame({"x": [0.1, 0.2, 0.3, 0.4], "label": ["NA", "None", "NA", ""]})
    frame.to_csv(tmp_path / "names.csv", index=False)
    dataset = load_dataset(tmp_path / "names.csv")
    assert (dataset.class_names, dataset.labels.tolist()) == (("NA", "None"), [0, 1, 0])
    assert [(s.row, s.reason) for s in dataset.skipped] == [(3, "has no label")]
    frame.assign(label=[1001, 2002, 1001, 77]).to_csv(tmp_path / "gaps.csv", index=False)
    dataset = load_dataset(tmp_path / "gaps.csv")
    assert (dataset.class_names, dataset.labels.tolist()) == (("77", "1001", "2002"), [1, 2, 1, 0])


def test_numbers_name_themselves_also_in_tables_as_long_as_cifar_10(tmp_path):
    table = pa.table({"features": [[float(i)] for i in range(10_000)], "label": [i % 10 for i in range(10_000)]})
    pq.write_table(table, tmp_path / "numbers.parquet")
    assert load_dataset(tmp_path / "numbers.parquet").class_names == tuple("0123456789")


def test_columns_that_the_usual_names_do_not_tell_are_named(tmp_path):
    frame = pd.DataFrame({"u": [1, 2, 3], "v": [3.5, 2, 1], "w": [0, 0, 9], "truth": ["a", "b", "a"], "nr": [7, 8, 9]})
    frame.to_csv(tmp_path / "mine.tsv", index=False, sep="\t")
    dataset = load_dataset(tmp_path / "mine.tsv", label_column="truth", feature_columns="u, v", id_column="nr")
    assert dataset.input_shape == (2,)
    assert list(dataset.keys) == ["7", "8", "9"]
    np.testing.assert_allclose(dataset.read(torch.arange(3))[:, 0], np.array([-1, 0, 1]) * 1.5**0.5, rtol=1e-6)


def test_features_without_labels_take_them_from_a_label_file(tmp_path):
    np.save(tmp_path / "x.npy", np.eye(4))
    np.save(tmp_path / "y.npy", np.array([0, 1, 2, 1]))
    dataset = load_dataset(tmp_path / "x.npy", labels=tmp_path / "y.npy")
    assert (dataset.modality, dataset.labels.tolist()) == ("features", [0, 1, 2, 1])


@pytest.mark.parametrize(
    ("kind", "unused"),
    [
        ("digits", {"classes": ["a", "b"], "root": ".", "label_column": "label", "id_column": "key"}),
        ("folder", {"classes": ["cat", "dog"], "root": ".", "image_column": "path", "feature_columns": "u,v"}),
        ("arrays", {"label_column": "y", "feature_columns": "x", "text_column": "text"}),
    ],
)
def test_a_setting_that_does_nothing_for_a_source_is_refused(tmp_path, kind, unused):
    make_tree(tmp_path / "folder")
    np.savez(tmp_path / "arrays.npz", x=np.arange(8.0).reshape(4, 2), y=[0, 1, 0, 1])
    source = {"digits": "digits", "folder": tmp_path / "folder", "arrays": tmp_path / "arrays.npz"}[kind]
    for name, value in unused.items():
        with pytest.raises(SettingsError, match=rf"`{name}` .* does nothing for .*Leave it out"):
            load_dataset(source, **{name: value})


def test_settings_that_a_source_uses_are_taken(tmp_path):
    np.savez(tmp_path / "arrays.npz", x=np.arange(8.0).reshape(4, 2), y=["b", "a", "b", "a"])
    assert load_dataset(tmp_path / "arrays.npz", classes=["b", "a"], root=tmp_path).labels.tolist() == [0, 1, 0, 1]


def recognises_toy(source, settings):
    return settings.source.endswith(".toy")


def read_toy(source, settings):
    rows = [line.split() for line in Path(settings.source).read_text().splitlines()]
    labels = class_indices([row[0] for row in rows], settings.class_names)
    values = features(torch.tensor([[float(value) for value in row[1:]] for row in rows]))
    keys = default_keys(settings.split, len(rows))
    return RawSamples("toy", settings.split, values, labels.labels, labels.class_names, keys, labels.broken)


def test_a_kind_of_source_is_one_module_and_one_line(tmp_path, monkeypatch):
    rows = [f"{NAMES[given]} {image.mean()} 1" for image, given in zip(IMAGES, GIVEN, strict=True)]
    (tmp_path / "mine.toy").write_text("\n".join(rows))
    with pytest.raises(DataError, match="is not a data set"):
        load_dataset(tmp_path / "mine.toy")
    toy = SimpleNamespace(recognises=recognises_toy, read=read_toy)
    monkeypatch.setattr(loading, "READERS", (*loading.READERS, toy))
    dataset = load_dataset(tmp_path / "mine.toy", classes=["light", "dark"])
    assert (dataset.class_names, dataset.labels.tolist()) == (("light", "dark"), (1 - GIVEN).tolist())
    training = TrainingSettings(epochs=3, batch_size=16, learning_rate=0.05)
    result = audit(DataSettings(str(tmp_path / "mine.toy")), tmp_path / "run", training)
    assert len(result.audit.frame) == N


def test_the_options_of_load_dataset_are_the_settings_of_the_data():
    settings, options = get_type_hints(DataSettings), get_type_hints(loading.LoadingOptions)
    assert options.keys() == settings.keys() - {
        "source", "encoder", "add_noise", "add_noise_seed", "also_split", "resizing",
    }  # fmt: skip
    for name in options:
        assert {*get_args(settings[name])} <= {*get_args(options[name])}, name
    with pytest.raises(TypeError, match="'add_noise'"):
        load_dataset("digits", add_noise=0.1)


def test_classes_may_be_a_sequence_of_names_with_commas_in_them(tmp_path):
    names = ["cat, big", "dog"]
    pd.DataFrame({"x": [0.1, 0.2, 0.3], "label": [0, 1, "cat, big"]}).to_csv(tmp_path / "mine.csv", index=False)
    dataset = load_dataset(tmp_path / "mine.csv", classes=names)
    assert (dataset.class_names, dataset.labels.tolist()) == (tuple(names), [0, 1, 0])
    for impossible in (["", "dog"], ["cat\ndog"]):
        with pytest.raises(SettingsError, match="`classes`"):
            load_dataset(tmp_path / "mine.csv", classes=impossible)
