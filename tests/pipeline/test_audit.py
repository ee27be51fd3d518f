"""An audit that cannot end in a ranking is refused before it trains."""

import numpy as np
import pytest

from gwaudit import DataSettings, RankingSettings, TrainingSettings, TrajectoryStore, audit
from gwaudit.core.errors import SettingsError
from helpers.command import gwaudit
from helpers.making import make_tree


@pytest.mark.parametrize(("detector", "message"), [
    ("mean_loss", "'mean_loss' cannot rank"),
    ("probability", "train with `final_passes"),
    ("luck", "unknown detector 'luck'"),
])  # fmt: skip
def test_a_detector_that_cannot_rank_multi_label_data_is_refused_before_training(tmp_path, detector, message):
    random = np.random.default_rng(0)
    np.savez(tmp_path / "tags.npz", x=random.normal(size=(40, 3)), y=random.integers(0, 2, (40, 2)))
    with pytest.raises(SettingsError, match=message):
        audit(
            DataSettings(str(tmp_path / "tags.npz")),
            tmp_path / "run",
            TrainingSettings(epochs=1),
            RankingSettings(detector=detector),
        )
    assert not (tmp_path / "run").exists()


def test_small_images_of_one_size_are_trained_at_their_size(tmp_path):
    make_tree(tmp_path / "images", per_class=12, size=(16, 16))
    done = gwaudit("audit", tmp_path / "images", "--epochs", 1, "--latents", "none", "-o", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert "24 images of 16x16 pixels" in done.stderr
    assert "pretrained weights" not in done.stderr
    with TrajectoryStore.open(tmp_path / "run") as store:
        assert store.settings["input_shape"] == [3, 16, 16]
