"""A table that gwaudit exported is read again with the features that its source had."""

import numpy as np
import pandas as pd

from gwaudit.data.loading import load_dataset
from helpers.command import gwaudit


def test_an_exported_table_has_the_features_of_its_source_also_when_it_is_exported_again(tmp_path):
    draw = np.random.default_rng(0)
    species = np.array(["s", "ve", "vi"])[np.arange(90) % 3]
    frame = pd.DataFrame(draw.normal(size=(90, 2)) + (np.arange(90) % 3)[:, None] * 4, columns=["a", "b"])
    frame.assign(species=np.where(np.arange(90) % 15 == 0, "vi", species)).to_csv(tmp_path / "t.csv", index=False)
    source, label = tmp_path / "t.csv", ["--label-column", "species"]
    for number in (1, 2):
        run, out = tmp_path / f"run-{number}", tmp_path / f"out-{number}"
        done = gwaudit("audit", source, *label, "-o", run, "--epochs", "3", "--batch-size", "16", "--force")
        assert done.returncode == 0, done.stderr
        assert gwaudit("export", run, "--to", "hf", "--output", out, "--action", "relabel").returncode == 0
        dataset = load_dataset(out)
        assert dataset.notes.columns_used == {"labels": ["species"], "keys": ["key"], "features": ["a", "b"]}
        assert dataset.class_names == ("s", "ve", "vi")
        names = pd.read_parquet(next(out.glob("*.parquet"))).columns.tolist()
        assert sorted(names) == sorted(["a", "b", "species", "sample_id", "key", "given_label"])
        source, label = out, []
