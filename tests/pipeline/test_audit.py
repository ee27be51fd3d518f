"""An audit that cannot end in a ranking is refused before it trains."""

import numpy as np
import pytest

from gwaudit import DataSettings, RankingSettings, TrainingSettings, audit
from gwaudit.core.errors import SettingsError


@pytest.mark.parametrize(("detector", "message"), [
    ("mean_loss", "'mean_loss' cannot rank"),
    ("probability", "train with final_passes"),
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
