"""Under Hugging Face's Trainer two lines record, sample by sample, what the plain loop over the same batches does."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DataCollatorWithPadding,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
    ViTConfig,
    ViTForImageClassification,
    default_data_collator,
)

from gwaudit.core.errors import DataError, RecordingError
from gwaudit.data.sample_ids import WithSampleIds
from gwaudit.recording.recorder import AlignmentRecorder
from gwaudit.recording.transformers import record_alignment
from gwaudit.store.store import TrajectoryStore
from helpers.loops import column

N, BATCH, EPOCHS, PLANTED = 60, 15, 2, 23
WORDS = ["[PAD]", "[UNK]", "good", "bad", "dull", "fine", "film", "plot", "planted"]
LABELS = np.arange(N) % 3


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")


def tokenizer() -> PreTrainedTokenizerFast:
    words = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]")


def texts() -> datasets.Dataset:
    """Sentences of 2 to 7 words with columns that the model does not know; one has a word of its own."""
    random = np.random.default_rng(0)
    lines = [" ".join(random.choice(WORDS[2:8], random.integers(2, 8))) for _ in range(N)]
    lines[PLANTED] = "planted " * 7
    data = datasets.Dataset.from_dict({"text": lines, "label": LABELS.tolist(), "source": ["web"] * N})
    tokens = tokenizer()
    return data.map(lambda row: tokens(row["text"]), batched=True)


def bert(**options: Any) -> BertForSequenceClassification:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=16,
        num_labels=3,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        pad_token_id=0,
        **options,
    )
    model = BertForSequenceClassification(config)
    with torch.no_grad():  # words that differ, and a head that takes the planted one for another class than its label
        model.bert.embeddings.word_embeddings.weight.normal_()
        model.bert.pooler.dense.weight *= 10
        latents = model.bert(torch.arange(2, len(WORDS))[:, None]).pooler_output  # of each word alone
        apart = torch.linalg.pinv(latents)[:, -1]  # 1 for the planted word, 0 for all others
        model.classifier.weight.copy_(torch.where(torch.arange(3) == LABELS[PLANTED], -4, 4)[:, None] * apart)
    return model


class Noting(Trainer):
    """Notes the ids of each batch, for the plain loop to go through the same ones."""

    def training_step(self, model: nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Tensor:
        vars(self).setdefault("batches", []).append(inputs["sample_id"].tolist())
        return super().training_step(model, inputs, *args, **kwargs)


def trainer(
    tmp_path: Path, model: nn.Module, data: Any, collator: Any = None, cls: Any = Noting, **options: Any
) -> Any:
    options = {"num_train_epochs": EPOCHS, "save_strategy": "no", **options}
    arguments = TrainingArguments(
        str(tmp_path / "trainer"),
        per_device_train_batch_size=BATCH,
        use_cpu=True,
        report_to=[],
        disable_tqdm=True,
        logging_strategy="no",
        max_grad_norm=0,
        dataloader_pin_memory=False,
        **options,
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    return cls(
        model,
        arguments,
        data_collator=collator or DataCollatorWithPadding(tokenizer()),
        train_dataset=data,
        eval_dataset=texts().select(range(20)),
        optimizers=(optimizer, schedule),
    )


def new_store(path: Path) -> TrajectoryStore:
    return TrajectoryStore.create(path, given_labels=LABELS, class_names=list("abc"))


def record(tmp_path: Path, trainer: Trainer, name: str = "run", **options: Any) -> TrajectoryStore:
    with new_store(tmp_path / name) as store, record_alignment(trainer, store, **options):
        trainer.train()
    return store


def plain(
    path: Path,
    model: nn.Module,
    data: Any,
    batches: list[list[int]],
    *,
    columns: tuple[str, ...] = ("input_ids", "token_type_ids", "attention_mask", "label"),
    collate: Callable[[list[Any]], Any] | None = None,
    loss_of: Callable[[nn.Module, dict[str, Tensor]], Tensor] = lambda model, batch: model(**batch).loss,
    accumulate: int = 1,
) -> TrajectoryStore:
    """The loop that someone would write by hand, over batches of these rows."""
    collate = collate or DataCollatorWithPadding(tokenizer())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    model.train()
    with new_store(path) as store, AlignmentRecorder(model, store) as recorder:
        for step, rows in enumerate(batches):
            batch = dict(collate([{k: v for k, v in data[row].items() if k in columns} for row in rows]))
            labels = batch["labels"]
            loss = loss_of(model, batch)
            recorder.observe(rows, labels)
            (loss / accumulate).backward()
            if (step + 1) % accumulate == 0:
                optimizer.step()
                optimizer.zero_grad()
            if (step + 1) % (N // BATCH) == 0:
                recorder.end_epoch()
    return store


def assert_same(store: TrajectoryStore, other: TrajectoryStore, *, exact: bool = True) -> None:
    assert store.epochs == other.epochs == tuple(range(EPOCHS))
    for epoch in store.epochs:
        assert (store.commit(epoch).missing, store.commit(epoch).repeated) == (0, 0)
        if exact:
            assert store.read_epoch(epoch).equals(other.read_epoch(epoch)), f"epoch {epoch}"
        for signal in ("alignment", "loss", "margin"):
            np.testing.assert_allclose(column(store, epoch, signal), column(other, epoch, signal), rtol=1e-4, atol=1e-5)


def test_a_text_classifier_records_what_the_plain_loop_records(tmp_path: Path) -> None:
    run = trainer(tmp_path, bert(), texts())
    store = record(tmp_path, run)
    assert_same(store, plain(tmp_path / "plain", bert(), texts(), run.batches))


def test_a_planted_sample_is_found_under_its_own_row_after_shuffling_and_workers(tmp_path: Path) -> None:
    run = trainer(tmp_path, bert(), texts(), dataloader_num_workers=2)
    store = record(tmp_path, run)
    losses = column(store, 0, "loss")
    assert losses.argmax() == PLANTED
    assert losses[PLANTED] > 2 * np.delete(losses, PLANTED).max()
    assert run.batches[0] != list(range(BATCH))
    assert_same(store, plain(tmp_path / "plain", bert(), texts(), run.batches))


def digits() -> datasets.Dataset:
    from sklearn.datasets import load_digits

    images, targets = load_digits(return_X_y=True)
    chosen = np.concatenate([np.flatnonzero(targets == c)[: N // 3] for c in range(3)]).reshape(3, -1).T.ravel()
    return datasets.Dataset.from_dict({"pixels": images[chosen] / 16, "label": LABELS.tolist()})


def as_images(rows: dict[str, Any]) -> dict[str, Any]:
    return {"pixel_values": [torch.tensor(p).view(1, 8, 8) for p in rows["pixels"]], "labels": rows["label"]}


def vit() -> ViTForImageClassification:
    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        num_labels=3,
        image_size=8,
        patch_size=4,
        num_channels=1,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    return ViTForImageClassification(config)


def plain_images(path: Path, batches: list[list[int]], data: Any) -> TrajectoryStore:
    return plain(path, vit(), data, batches, columns=("pixel_values", "labels"), collate=default_data_collator)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_image_classifier_on_a_data_set_with_a_transform_records_what_the_plain_loop_records(
    tmp_path: Path, workers: int
) -> None:
    data = digits().with_transform(as_images)
    options = {"remove_unused_columns": False, "dataloader_num_workers": workers}
    run = trainer(tmp_path, vit(), data, default_data_collator, **options)
    assert_same(record(tmp_path, run), plain_images(tmp_path / "plain", run.batches, data))


class TorchDigits(torch.utils.data.Dataset[Any]):
    """A data set of torch, with a key that the model does not know."""

    def __init__(self) -> None:
        self.rows = digits().with_transform(as_images)

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {**self.rows[index], "file": f"{index}.png"}


def test_a_data_set_of_torch_records_what_the_plain_loop_records(tmp_path: Path) -> None:
    run = trainer(tmp_path, vit(), TorchDigits(), default_data_collator)
    assert_same(record(tmp_path, run), plain_images(tmp_path / "plain", run.batches, TorchDigits()))


def test_gradient_accumulation_records_as_the_plain_loop_that_accumulates(tmp_path: Path) -> None:
    run = trainer(tmp_path, bert(), texts(), gradient_accumulation_steps=2)
    run.model_accepts_loss_kwargs = False  # else it takes the model's mean loss for one over all accumulated samples
    store = record(tmp_path, run)
    assert_same(store, plain(tmp_path / "plain", bert(), texts(), run.batches, accumulate=2), exact=False)


def test_label_smoothing_records_the_given_label_as_the_plain_loop(tmp_path: Path) -> None:
    def loss_of(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        return nn.functional.cross_entropy(model(**batch).logits, batch["labels"], label_smoothing=0.2)

    run = trainer(tmp_path, bert(), texts(), label_smoothing_factor=0.2)
    store = record(tmp_path, run)
    assert_same(store, plain(tmp_path / "plain", bert(), texts(), run.batches, loss_of=loss_of), exact=False)


def test_bfloat16_records_as_the_plain_loop_under_autocast(tmp_path: Path) -> None:
    def loss_of(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(**batch).logits
        return nn.functional.cross_entropy(logits.float(), batch["labels"])

    run = trainer(tmp_path, bert(), texts(), bf16=True)
    store = record(tmp_path, run)
    other = plain(tmp_path / "plain", bert(), texts(), run.batches, loss_of=loss_of)
    np.testing.assert_allclose(column(store, 1, "alignment"), column(other, 1, "alignment"), atol=0.02)
    np.testing.assert_array_equal(
        column(store, 0, "alignment")[run.batches[0]], column(other, 0, "alignment")[run.batches[0]]
    )


@pytest.mark.parametrize("reentrant", [False, True])
def test_gradient_checkpointing_records_as_the_plain_loop(tmp_path: Path, reentrant: bool) -> None:
    model = bert()
    model.gradient_checkpointing_enable({"use_reentrant": reentrant})
    run = trainer(tmp_path, model, texts())
    store = record(tmp_path, run)
    assert_same(store, plain(tmp_path / "plain", bert(), texts(), run.batches))


def test_a_compiled_model_records_as_the_plain_loop(tmp_path: Path) -> None:
    try:
        run = trainer(tmp_path, vit(), TorchDigits(), default_data_collator, torch_compile_backend="eager")
        store = record(tmp_path, run)
    finally:
        torch.compiler.reset()
    assert_same(store, plain_images(tmp_path / "plain", run.batches, TorchDigits()), exact=False)


def test_evaluation_during_training_also_on_the_training_data_is_not_recorded(tmp_path: Path) -> None:
    run = trainer(tmp_path, bert(), texts(), eval_strategy="steps", eval_steps=1)
    with new_store(tmp_path / "run") as store, record_alignment(run, store):
        run.evaluate(run.train_dataset)
        run.train()
        run.predict(run.train_dataset)
    assert_same(store, plain(tmp_path / "plain", bert(), texts(), run.batches))


def test_the_trainer_is_as_it_was_after_the_block(tmp_path: Path) -> None:
    run = trainer(tmp_path, bert(), texts(), cls=Trainer)
    before = {name: value for name, value in vars(run).items() if name != "state"}
    callbacks = list(run.callback_handler.callbacks)
    with new_store(tmp_path / "run") as store, record_alignment(run, store):
        pass
    assert {name: value for name, value in vars(run).items() if name != "state"} == before
    assert run.callback_handler.callbacks == callbacks
    assert run.train().global_step == EPOCHS * N // BATCH


def test_recording_changes_nothing_of_what_is_trained(tmp_path: Path) -> None:
    trained = []
    for recorded in (False, True):
        run = trainer(tmp_path, bert(), texts(), cls=Trainer)
        record(tmp_path, run) if recorded else run.train()
        trained.append(run.model.state_dict())
    assert all(torch.equal(trained[0][name], trained[1][name]) for name in trained[0])


@pytest.mark.parametrize("strategy", [{"save_strategy": "epoch"}, {"save_strategy": "steps", "save_steps": 4}])
def test_a_resumed_training_goes_on_where_the_run_ends(tmp_path: Path, strategy: dict[str, Any]) -> None:
    def run(epochs: int) -> Any:
        return trainer(tmp_path, bert(), texts(), cls=Trainer, num_train_epochs=epochs, **strategy)

    store = record(tmp_path, run(2))
    with TrajectoryStore.open(store.path, writable=True) as store:
        again = run(3)
        with (
            record_alignment(again, store),
            pytest.raises(RecordingError, match=r"starts at epoch 0.*holds 2 epochs"),
        ):
            again.train()
        again = run(3)
        with record_alignment(again, store), pytest.warns(UserWarning, match="holds epoch 1 already"):
            again.train(resume_from_checkpoint=os.fspath(tmp_path / "trainer" / "checkpoint-4"))
    assert store.epochs == (0, 1, 2)
    assert store.commit(2).missing == 0


class OwnLoader(Trainer):
    def get_train_dataloader(self) -> Any:
        return torch.utils.data.DataLoader(self.own, BATCH, collate_fn=self.data_collator)  # type: ignore[attr-defined]


def test_a_loader_of_ones_own_needs_the_ids_and_is_recorded_with_them(tmp_path: Path) -> None:
    columns = texts().select_columns(["input_ids", "attention_mask", "label"])
    run = trainer(tmp_path, bert(), columns, cls=OwnLoader)
    run.own = columns
    with pytest.raises(RecordingError, match=r"no 'sample_id': a data loader of your own.*WithSampleIds"):
        record(tmp_path, run, "refused")
    run = trainer(tmp_path, bert(), WithSampleIds(columns), cls=OwnLoader)
    run.own = run.train_dataset
    store = record(tmp_path, run)
    assert [store.commit(epoch).missing for epoch in store.epochs] == [0, 0]


class Skipping(Trainer):
    """Skips a batch without calling the model."""

    def compute_loss(self, model: nn.Module, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        if self.state.global_step % 4 == 2:
            return sum(parameter.sum() for parameter in model.parameters()) * 0
        return super().compute_loss(model, inputs, *args, **kwargs)


def test_a_batch_that_compute_loss_skips_is_missing_and_the_training_goes_on(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=r"epoch 1: 1 of 4 steps made no forward pass"):
        store = record(tmp_path, trainer(tmp_path, bert(), texts(), cls=Skipping))
    assert [store.commit(epoch).missing for epoch in store.epochs] == [BATCH, BATCH]


def mixup(samples: list[Any]) -> dict[str, Tensor]:
    batch = default_data_collator(samples)
    targets = nn.functional.one_hot(batch["labels"], 3).float()
    pixels = batch["pixel_values"]
    return {"pixel_values": 0.7 * pixels + 0.3 * pixels.flip(0), "labels": 0.7 * targets + 0.3 * targets.flip(0)}


class SoftTargets(Trainer):
    def compute_loss(self, model: nn.Module, inputs: Any, return_outputs: bool = False, **kwargs: Any) -> Any:
        outputs = model(pixel_values=inputs["pixel_values"])
        return nn.functional.cross_entropy(outputs.logits, inputs["labels"])


def test_a_collator_that_mixes_is_said_once_and_recorded_by_evaluation_passes(tmp_path: Path) -> None:
    run = trainer(tmp_path, vit(), TorchDigits(), mixup, cls=SoftTargets)
    with pytest.warns(UserWarning, match=r"soft targets.*evaluation pass") as said:
        store = record(tmp_path, run)
    assert sum("soft targets" in str(warning.message) for warning in said) == 1
    batch = default_data_collator([TorchDigits()[row] for row in range(N)])
    with torch.no_grad():
        logits = run.model.eval()(pixel_values=batch["pixel_values"]).logits
    expected = nn.functional.cross_entropy(logits, torch.from_numpy(LABELS), reduction="none")
    assert store.epochs == (0, 1)
    np.testing.assert_allclose(column(store, 1, "loss"), expected, rtol=1e-4)


def test_a_given_loader_is_recorded_after_each_epoch_and_has_to_carry_ids(tmp_path: Path) -> None:
    def batches(data: Any) -> Any:
        return torch.utils.data.DataLoader(data, batch_size=20, collate_fn=default_data_collator)

    run = trainer(tmp_path, vit(), TorchDigits(), default_data_collator)
    with pytest.raises(RecordingError, match=r"evaluation_loader has no 'sample_id'.*WithSampleIds"):
        record(tmp_path, run, "refused", evaluation_loader=batches(digits().with_transform(as_images)))
    run = trainer(tmp_path, vit(), TorchDigits(), default_data_collator)
    store = record(tmp_path, run, evaluation_loader=batches(WithSampleIds(digits().with_transform(as_images))))
    batch = default_data_collator([TorchDigits()[row] for row in range(N)])
    with torch.no_grad():
        logits = run.model.eval()(pixel_values=batch["pixel_values"]).logits
    expected = nn.functional.cross_entropy(logits, torch.from_numpy(LABELS), reduction="none")
    np.testing.assert_allclose(column(store, 1, "loss"), expected, rtol=1e-4)


def test_what_cannot_be_recorded_is_refused_before_training(tmp_path: Path) -> None:
    stream = texts().to_iterable_dataset()
    with new_store(tmp_path / "run") as store:
        for data, error, message in [
            (None, RecordingError, "no train_dataset"),
            (stream, DataError, "IterableDataset is a stream"),
            (texts().select(range(9)), RecordingError, "9 samples, the run .* has 60"),
        ]:
            run = trainer(tmp_path, bert(), texts())
            run.train_dataset = data
            with pytest.raises(error, match=message), record_alignment(run, store):
                pass
    rolled = texts().remove_columns("label").add_column("label", np.roll(LABELS, 1).tolist())
    with pytest.raises(RecordingError, match="observed labels are not the run's given labels"):
        record(tmp_path, trainer(tmp_path, bert(), rolled), "rolled")


class TwoPasses(Noting):
    """Runs the model on other texts, too, in each step."""

    with_gradient = False

    def compute_loss(self, model: nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        with torch.set_grad_enabled(self.with_gradient):
            model(**{**inputs, "input_ids": inputs["input_ids"].flip(0)})
        return super().compute_loss(model, inputs, *args, **kwargs)


class TwoTrainingPasses(TwoPasses):
    with_gradient = True


def test_a_second_pass_in_compute_loss_is_ignored_without_gradient_and_refused_with_it(tmp_path: Path) -> None:
    run = trainer(tmp_path, bert(), texts(), cls=TwoPasses)
    store = record(tmp_path, run)
    assert_same(store, plain(tmp_path / "plain", bert(), texts(), run.batches))
    with pytest.raises(RecordingError, match=r"2 training passes of 15 samples.*evaluation_loader="):
        record(tmp_path, trainer(tmp_path, bert(), texts(), cls=TwoTrainingPasses), "refused")
