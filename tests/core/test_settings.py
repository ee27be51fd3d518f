"""Settings check their values, and are read back from the runs that keep them."""

import json
import math

import numpy as np
import pytest

from gwaudit import audit
from gwaudit.core.errors import SettingsError
from gwaudit.core.settings import DataSettings, RankingSettings, TrainingSettings


def test_data_settings_are_read_back_as_they_were(tmp_path):
    settings = DataSettings(str(tmp_path), label_separator="|", classes="cat,dog", add_noise=0.2, add_noise_seed=3)
    assert DataSettings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings


def test_runs_that_wrote_the_noise_as_plant_are_still_read():
    run = {"source": "digits", "split": "train", "plant": 0.1, "plant_seed": 4}
    assert DataSettings.from_dict(run) == DataSettings("digits", fit="crop", add_noise=0.1, add_noise_seed=4)


@pytest.mark.parametrize(("options", "message"), [
    ({"on_error": "ignore"}, "`on_error` must be one of stop, skip, not 'ignore'"),
    ({"label_separator": ""}, "`label_separator` is empty"),
    ({"add_noise": 1.0}, r"`add_noise` must be a share in \[0, 1\), not 1.0"),
    ({"image_size": 0}, "`image_size` must be at least 1 pixel"),
    ({"add_noise_seed": -1}, "`add_noise_seed` must be 0 or more, not -1"),
    ({"feature_columns": ["a", "b"]}, "`feature_columns` must be a text, not .*with commas in between"),
])  # fmt: skip
def test_impossible_data_settings_are_refused(options, message):
    with pytest.raises(SettingsError, match=message):
        DataSettings("digits", **options)


@pytest.mark.parametrize(("options", "message"), [
    ({"cut": math.nan}, "`cut` must be a number"),
    ({"window": (5, 4)}, "`window` begins after its last epoch"),
    ({"window": (-1, 3)}, "`window` begins before the first epoch"),
    ({"window": 5}, "`window` must be 'auto' or the first and the last epoch, not 5"),
    ({"window": "last"}, "`window` must be 'auto' or .* not 'last'"),
    ({"window": (1,)}, "`window` must be 'auto' or"),
    ({"window": (0.5, 2)}, "`window` must be 'auto' or"),
    ({"top": 2.5}, "`top` must be a whole number, not 2.5"),
    ({"top": True}, "`top` must be a whole number, not True"),
    ({"top": "5"}, "`top` must be a number, not the text '5'"),
    ({"budget": 1.5}, "`budget` must be a whole number"),
    ({"per_class": "yes"}, "`per_class` must be True or False, not 'yes'"),
])  # fmt: skip
def test_impossible_ranking_settings_are_refused(options, message):
    with pytest.raises(SettingsError, match=message):
        RankingSettings(**options)


@pytest.mark.parametrize(("options", "message"), [
    ({"epochs": 2.5}, "`epochs` must be a whole number, not 2.5"),
    ({"batch_size": 10.5}, "`batch_size` must be a whole number, not 10.5"),
    ({"model": None}, "`model` must not be None"),
    ({"learning_rate": "0.1"}, "`learning_rate` must be a number or 'auto', not the text '0.1'"),
    ({"epochs": "5"}, "`epochs` must be a number or 'auto', not the text '5'"),
])  # fmt: skip
def test_training_settings_of_another_type_are_refused(options, message):
    with pytest.raises(SettingsError, match=message):
        TrainingSettings(**options)


@pytest.mark.parametrize(("arguments", "message"), [
    (("tab.csv",), r"`data` must be gwaudit.DataSettings\(...\), not 'tab.csv'"),
    ((DataSettings("digits"), {"epochs": 2}), "`training` must be"),
    ((DataSettings("digits"), TrainingSettings(), {"top": 5}), "`ranking` must be"),
])  # fmt: skip
def test_something_else_than_settings_is_refused(tmp_path, arguments, message):
    data, *others = arguments
    with pytest.raises(SettingsError, match=message):
        audit(data, tmp_path / "run", *(others or [TrainingSettings()]))
    assert not (tmp_path / "run").exists()


def test_numbers_of_numpy_and_paths_are_settings(tmp_path):
    assert RankingSettings(top=np.int64(5)).top == TrainingSettings(epochs=np.int32(5)).epochs
    training = TrainingSettings(epochs=np.int64(2), seed=np.uint8(3), weight_decay=np.float32(0.5))
    assert json.loads(json.dumps(training.to_dict())) == TrainingSettings(epochs=2, seed=3, weight_decay=0.5).to_dict()
    assert RankingSettings(per_class=np.bool_(True)).per_class is True
    assert DataSettings(tmp_path) == DataSettings(str(tmp_path))


def test_class_names_are_separated_by_commas_or_stand_one_a_line(tmp_path):
    (tmp_path / "classes.txt").write_text("cat, big\ndog\n\n", encoding="utf-8")
    assert DataSettings("x").class_names is None
    assert DataSettings("x", classes=" cat, dog,").class_names == ("cat", "dog")
    assert DataSettings("x", classes="cat, big\ndog\n").class_names == ("cat, big", "dog")
    assert DataSettings("x", classes=str(tmp_path / "classes.txt")).class_names == ("cat, big", "dog")
    many = DataSettings("x", classes=",".join(f"class {i}" for i in range(1000)))  # too long for a path
    assert many.class_names[999] == "class 999"
    assert many.to_dict()["classes"] == many.classes
    (tmp_path / "classes.txt").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(SettingsError, match="cannot be read as a list of classes"):
        _ = DataSettings("x", classes=str(tmp_path / "classes.txt")).class_names
