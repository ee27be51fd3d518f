"""A setting that does nothing for the data is refused or noted, for each setting and each kind of data."""

from dataclasses import fields, replace

import numpy as np
import pytest
from PIL import Image

from gwaudit import DataSettings, TrainingSettings, load_dataset
from gwaudit.core.errors import SettingsError
from gwaudit.core.presets import RefinementSettings
from gwaudit.pipeline.check_data import check_data
from gwaudit.pipeline.unused_settings import USED_BY, describe_unused, require_used

# Settings that every kind of training uses, or whose use another check requires: those that name parts of a source
# (`gwaudit.data.loading`), labels, sizes, weights and folds.
_USED_BY_ALL = {
    *("source", "labels", "label_key", "split", "also_split", "image_size", "on_error", "label_column"),
    *("label_separator", "image_column", "text_column", "feature_columns", "id_column", "root", "classes"),
    *("workers", "cache_limit", "add_noise", "add_noise_seed", "resizing"),  # the first two change no result
    *("epochs", "batch_size", "optimizer", "momentum", "schedule", "learning_rate", "weight_decay"),
    *("label_smoothing", "balance", "accumulate", "clip_norm", "ema_decay", "record", "final_passes", "select"),
    *("patience", "dtype", "device", "seed", "pretrained", "checkpoint", "backbone", "folds", "fold_repeats"),
    "reweighting",
    *("latents", "alignment"),
}
VALUES = {"model": "resnet18_small", "augment": "none", "head": "mlp", "views": 2}


def test_each_setting_says_which_data_use_it():
    declared = {field.name for cls in (DataSettings, TrainingSettings) for field in fields(cls)}
    assert declared == USED_BY.keys() | _USED_BY_ALL, "say in USED_BY or here which kinds of data use a new setting"


@pytest.mark.parametrize("kind", ["network", "frozen", "features", "texts"])
@pytest.mark.parametrize("name", VALUES)
def test_a_setting_of_the_training_is_noted_where_it_does_nothing(name, kind):
    training = TrainingSettings(**{name: VALUES[name]})
    noted = describe_unused(DataSettings("x"), training, RefinementSettings(), kind)
    assert [f"`{name}`" in sentence for sentence in noted] == ([] if kind in USED_BY[name][0] else [True])
    assert describe_unused(DataSettings("x"), TrainingSettings(), RefinementSettings(), kind) == []


def test_settings_that_need_another_one_are_noted():
    data = DataSettings("x", add_noise_seed=3)
    noted = describe_unused(data, TrainingSettings(final_passes=2), RefinementSettings(refine_epochs=2), "features")
    assert [sentence.split("`")[1] for sentence in noted] == ["final_passes", "refine_epochs", "add_noise_seed"]
    refined, with_noise = RefinementSettings(refine=1, refine_epochs=2), replace(data, add_noise=0.1)
    assert describe_unused(with_noise, TrainingSettings(final_passes=2), refined, "network") == []


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """One source of each kind: images in files and in memory, features, texts."""
    root, random = tmp_path_factory.mktemp("sources"), np.random.default_rng(0)
    for name in ("a", "b"):
        (root / "images" / name).mkdir(parents=True)
        for i in range(3):
            image = Image.fromarray(random.integers(0, 255, (8, 8, 3), dtype=np.uint8))
            image.save(root / "images" / name / f"{i}.png")
    (root / "table.csv").write_text("x,label\n1.5,a\n2.5,b\n3.5,a\n")
    (root / "texts.csv").write_text("text,label\nwhere is it,a\nwho is it,b\nwhat is it,a\n")
    return {"images": root / "images", "digits": "digits", "table": root / "table.csv", "texts": root / "texts.csv"}


@pytest.mark.parametrize(
    ("name", "value", "users"),
    [("encoder", "other/encoder", {"texts"}), ("fit", "pad", {"images"}), ("cache", "cache", {"images"})],
)
def test_a_setting_of_the_data_is_refused_where_it_does_nothing(sources, name, value, users):
    for kind, source in sources.items():
        data, dataset = DataSettings(str(source), **{name: value}), load_dataset(source, cache_limit=0)
        if kind in users:
            require_used(data, dataset)
        else:
            with pytest.raises(SettingsError, match=f"`{name}` .* does nothing for .* Leave it out"):
                require_used(data, dataset)
            with pytest.raises(SettingsError, match=f"`{name}`"):
                check_data(data)


def test_a_fit_of_square_images_is_noted(sources):
    for fit, is_noted in (("pad", True), ("squash", False)):
        remarks = load_dataset(sources["images"], fit=fit, cache_limit=0).notes.remarks
        assert any("`fit` ('pad') changes nothing" in remark for remark in remarks) == is_noted
