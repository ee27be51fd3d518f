"""Shards are read in order, each sample under its own key."""

import tarfile

from gwaudit.data.loading import load_dataset


def test_a_shard_of_texts_keeps_each_under_its_own_key_where_one_is_missing(tmp_path):
    with tarfile.open(tmp_path / "0.tar", "w") as tar:
        for name, content in (("a.txt", "one"), ("a.cls", "x"), ("b.cls", "y"), ("c.txt", "three"), ("c.cls", "y")):
            (tmp_path / "part").write_text(content)
            tar.add(tmp_path / "part", name)
    dataset = load_dataset(tmp_path / "0.tar", on_error="skip")
    assert list(zip(dataset.keys, dataset.texts, strict=True)) == [("a", "one"), ("c", "three")]
    assert [s.key for s in dataset.skipped] == ["b"]
