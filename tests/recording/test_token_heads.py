"""Heads that give logits for every token are recorded at the token, or the mean, that the model returns."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor, nn

from gwaudit.core.errors import RecordingError
from gwaudit.recording.recorder import AlignmentRecorder
from gwaudit.store.store import TrajectoryStore
from helpers.gradients import head_cosines

N, CLASSES, LENGTH, WORDS = 8, 3, 7, 20
LABELS = torch.arange(N) % CLASSES
LENGTHS = torch.tensor([7, 3, 5, 7, 1, 2, 6, 4])
TOKENS = torch.randint(1, WORDS, (N, LENGTH), generator=torch.Generator().manual_seed(0))
INPUTS = torch.randn(N, LENGTH, 6, generator=torch.Generator().manual_seed(0))

SMALL = {
    "vocab_size": WORDS,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "num_labels": CLASSES,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GPT2 = {"vocab_size": WORDS, "n_embd": 16, "n_layer": 1, "n_head": 2, "num_labels": CLASSES, "pad_token_id": 0}
DECODERS: dict[str, dict[str, Any]] = {
    "GPT2": {**GPT2, "bos_token_id": 1, "eos_token_id": 2},
    "Llama": SMALL,
    "Qwen2": {**SMALL, "num_key_value_heads": 2},
    "Mistral": {**SMALL, "num_key_value_heads": 2},
    "Gemma": {**SMALL, "num_key_value_heads": 2, "head_dim": 8},
}
ENCODERS = {"XLMRoberta": SMALL, "Camembert": SMALL}  # their head is defined before the body


def classifier(name: str, options: dict[str, Any]) -> Any:
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**options)
    return getattr(transformers, f"{name}ForSequenceClassification")(config).eval()


def record(path: Path, model: nn.Module, call: Callable[[nn.Module], object], head: str | None = None) -> np.ndarray:
    with TrajectoryStore.create(path, given_labels=LABELS.numpy(), class_names=list("abc")) as store:
        with AlignmentRecorder(model, store, head=head) as recorder:
            call(model)
            recorder.observe(range(N), LABELS)
            recorder.end_epoch()
        return store.read_block(0, 0, ["alignment"])["alignment"]


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("name", DECODERS)
def test_a_decoder_is_recorded_at_its_last_token_that_is_no_padding(tmp_path: Path, name: str, side: str) -> None:
    model = classifier(name, DECODERS[name])
    used = torch.arange(LENGTH) < LENGTHS[:, None]
    used = used if side == "right" else used.flip(1)
    batch = {"input_ids": torch.where(used, TOKENS, 0), "attention_mask": used.long()}
    last = LENGTHS - 1 if side == "right" else torch.full((N,), LENGTH - 1)
    states = model.base_model(**batch).last_hidden_state[torch.arange(N), last]
    alignment = record(tmp_path / "run", model, lambda model: model(**batch))
    np.testing.assert_allclose(alignment, head_cosines(states, LABELS, model.score.weight, model.score.bias), atol=1e-5)


@pytest.mark.parametrize("name", ENCODERS)
def test_an_encoder_whose_head_is_defined_before_its_body_is_recorded_at_its_head(tmp_path: Path, name: str) -> None:
    model = classifier(name, ENCODERS[name])
    latents: list[Tensor] = []
    model.classifier.out_proj.register_forward_pre_hook(lambda module, args: latents.append(args[0]))
    alignment = record(tmp_path / "run", model, lambda model: model(input_ids=TOKENS))
    head = model.classifier.out_proj
    np.testing.assert_allclose(alignment, head_cosines(latents[0], LABELS, head.weight, head.bias), atol=1e-5)


class Tokens(nn.Module):
    """A head on every token, and what becomes of its logits."""

    def __init__(self, pool: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body, self.head, self.pool = nn.Linear(6, 6), nn.Linear(6, CLASSES), pool

    def forward(self, inputs: Tensor) -> Tensor:
        return self.pool(self.head(self.body(inputs)))


@pytest.mark.parametrize("head", [None, "head"])
@pytest.mark.parametrize(
    "pool", [lambda x: x.mean(1), lambda x: x[:, 0], lambda x: x[:, -1], lambda x: x[torch.arange(N), LENGTHS - 1]]
)
def test_the_mean_or_one_token_of_a_linear_head_is_recorded_with_its_latent(
    tmp_path: Path, pool: Callable[[Tensor], Tensor], head: str | None
) -> None:
    model = Tokens(pool)
    alignment = record(tmp_path / "run", model, lambda model: model(INPUTS), head)
    expected = head_cosines(pool(model.body(INPUTS)), LABELS, model.head.weight, model.head.bias)
    np.testing.assert_allclose(alignment, expected, atol=1e-5)


@pytest.mark.parametrize("head", [None, "head"])
@pytest.mark.parametrize("pool", [lambda x: x, lambda x: x.amax(1), lambda x: x.softmax(2).mean(1), lambda x: x.sum(1)])
def test_another_pooling_of_the_logits_is_refused(
    tmp_path: Path, pool: Callable[[Tensor], Tensor], head: str | None
) -> None:
    with pytest.raises(RecordingError, match=r"'head'"):
        record(tmp_path / "run", Tokens(pool), lambda model: model(INPUTS), head)
