"""Alignment in float32 stays within 1e-5 of arithmetic with 900 digits, however sure the model is."""

import doctest
import itertools
from decimal import Decimal, localcontext

import pytest
import torch
from torch import Tensor, nn

import gwaudit.recording.alignment
from gwaudit.core.errors import RecordingError
from gwaudit.core.settings import Alignment
from gwaudit.recording.alignment import (
    counterfactual_alignment,
    head_alignment,
    sample_signals,
    soft_target_alignment,
)
from gwaudit.recording.cosine import frobenius_norm
from gwaudit.recording.multilabel import multilabel_alignment, multilabel_class_alignment
from helpers.gradients import head_cosines

TOLERANCE = 1e-5
DIGITS = 900  # ‖e_y - p‖² reaches e^-2000 = 1e-869 where logits reach ±500


def decimals(values: Tensor) -> list[Decimal]:
    return [Decimal(value) for value in values.double().tolist()]


def exact_norm(values: Tensor) -> Decimal:
    return sum((value * value for value in decimals(values.flatten())), Decimal(0)).sqrt()


def exact_cosine(target: list[Decimal], given: list[Decimal], product: list[Decimal], norms: Decimal) -> float:
    """((t - p)·u) / (‖t - p‖ ‖z̃‖ ‖θ‖) as the textbook has it."""
    difference = [t - p for t, p in zip(target, given, strict=True)]
    dot = sum((d * u for d, u in zip(difference, product, strict=True)), Decimal(0))
    length = sum((d * d for d in difference), Decimal(0)).sqrt()
    return float(dot / (length * norms))


def exponential(value: Decimal) -> Decimal:
    # 60 digits of e^l are those of an l moved by 1e-60; the many digits are for the differences that follow.
    with localcontext() as context:
        context.prec = 60
        return value.exp()


class ExactSample:
    """One sample's softmax and head in 900 digits, from the very numbers that the functions are given."""

    def __init__(
        self, latent: Tensor, logits: Tensor, weight: Tensor, bias: Tensor | None, form: Alignment = "head"
    ) -> None:
        values = decimals(logits)
        exponentials = [exponential(value) for value in values]
        total = sum(exponentials)
        self.probability = [value / total for value in exponentials]
        self.sigmoid = [1 / (1 + exponential(-value)) for value in values]
        if bias is not None and form == "head":
            latent, weight = torch.cat([latent, torch.ones(1)]), torch.cat([weight, bias[:, None]], 1)
        elif bias is not None:
            values = [v - b for v, b in zip(values, decimals(bias), strict=True)]
        self.product = values
        self.latent_norm, self.row_norms = exact_norm(latent), [exact_norm(row) for row in weight]
        self.norms = self.latent_norm * exact_norm(weight)

    def alignment(self, label: int) -> float:
        one_hot = [Decimal(int(c == label)) for c in range(len(self.probability))]
        return exact_cosine(one_hot, self.probability, self.product, self.norms)


def exact_alignments(
    latent: Tensor, logits: Tensor, labels: Tensor, weight: Tensor, bias: Tensor | None
) -> list[float]:
    rows = zip(latent, logits, labels.tolist(), strict=True)
    return [ExactSample(z, values, weight, bias).alignment(label) for z, values, label in rows]


@pytest.fixture(autouse=True)
def many_digits():
    with localcontext() as context:
        context.prec = DIGITS
        yield


def make_head(
    classes: int, largest_logit: float, *, biased: bool, samples: int = 4, features: int = 16, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Latent, logits, weight and bias in float32, the logits reaching ±largest_logit."""
    generator = torch.Generator().manual_seed(seed)
    latent = torch.randn(samples, features, generator=generator).relu()
    weight = torch.randn(classes, features, generator=generator)
    bias = torch.randn(classes, generator=generator) if biased else None
    scale = largest_logit / (latent @ weight.T).abs().amax()
    weight = weight * scale
    bias = None if bias is None else bias * scale
    return latent, nn.functional.linear(latent, weight, bias), weight, bias


def telling_labels(logits: Tensor) -> Tensor:
    """The likeliest class, the second, the least likely and the first, a row each."""
    order = logits.argsort(1, descending=True)
    return torch.stack([order[0, 0], order[1, 1], order[2, -1], torch.tensor(0)])


FORMS = [(False, "head"), (True, "head"), (True, "weight")]  # without a bias both forms are one
HEADS = [
    *((classes, largest, *form) for classes, largest, form in itertools.product((2, 3, 10), (1.0, 30.0, 500.0), FORMS)),
    (1000, 500.0, True, "head"),
]


@pytest.mark.parametrize(("classes", "largest_logit", "biased", "form"), HEADS)
def test_float32_alignment_is_the_exact_one(classes: int, largest_logit: float, biased: bool, form: Alignment) -> None:
    latent, logits, weight, bias = make_head(classes, largest_logit, biased=biased)
    labels = telling_labels(logits)
    likely = logits.argsort(1, descending=True)[:, :3]

    alignment = head_alignment(latent, logits, labels, weight, bias, alignment=form)
    every = counterfactual_alignment(latent, logits, weight, bias, alignment=form)
    signals = sample_signals(latent, logits, labels, weight, bias, alignment=form)

    assert alignment.dtype == every.dtype == signals.alignment.dtype == torch.float32
    for row, label in enumerate(labels.tolist()):
        exact = ExactSample(latent[row], logits[row], weight, bias, form)
        expected = pytest.approx(exact.alignment(label), abs=TOLERANCE)
        assert alignment[row] == expected
        assert every[row, label] == expected
        assert signals.alignment[row] == expected
        for rival in [*likely[row].tolist(), classes - 1]:
            assert every[row, rival] == pytest.approx(exact.alignment(rival), abs=TOLERANCE)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("largest_logit", [5.0, 500.0])
def test_half_precision_inputs_are_scored_in_float32(dtype: torch.dtype, largest_logit: float) -> None:
    latent, logits, weight, bias = (t.to(dtype) for t in make_head(10, largest_logit, biased=True))
    labels = telling_labels(logits)

    alignment = head_alignment(latent, logits, labels, weight, bias)
    signals = sample_signals(latent, logits, labels, weight, bias)

    exact = exact_alignments(latent, logits, labels, weight, bias)
    assert alignment.dtype == torch.float32
    torch.testing.assert_close(alignment.tolist(), exact, atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(signals.alignment.tolist(), exact, atol=TOLERANCE, rtol=0)


def test_float64_inputs_are_scored_in_float64() -> None:
    head = make_head(10, 30.0, biased=True)
    latent, _, weight, bias = (t.double() for t in head)
    logits = nn.functional.linear(latent, weight, bias)
    labels = telling_labels(logits)

    alignment = head_alignment(latent, logits, labels, weight, bias)

    exact = exact_alignments(latent, logits, labels, weight, bias)
    torch.testing.assert_close(alignment, torch.tensor(exact, dtype=torch.float64), atol=1e-13, rtol=0)


@pytest.mark.parametrize("classes", [2, 10, 1000])
@pytest.mark.parametrize(("biased", "form"), FORMS)
def test_alignment_is_the_cosine_of_the_gradient_that_autograd_finds(
    classes: int, biased: bool, form: Alignment
) -> None:
    latent, logits, weight, bias = make_head(classes, 5.0, biased=biased, samples=32)
    labels = torch.arange(32) % classes

    expected = head_cosines(latent, labels, weight, bias, alignment=form)

    alignment = head_alignment(latent, logits, labels, weight, bias, alignment=form)
    torch.testing.assert_close(alignment.double(), expected, atol=TOLERANCE, rtol=0)


def test_the_bias_counts_as_the_weight_of_a_constant_feature() -> None:
    latent, logits, weight, bias = make_head(10, 30.0, biased=True)
    labels, targets = telling_labels(logits), torch.eye(10)[:4] * 0.8 + 0.02
    extended, joint = torch.cat([latent, torch.ones(4, 1)], 1), torch.cat([weight, bias[:, None]], 1)

    for own, without_bias in [
        (sample_signals(latent, logits, labels, weight, bias), sample_signals(extended, logits, labels, joint)),
        (counterfactual_alignment(latent, logits, weight, bias), counterfactual_alignment(extended, logits, joint)),
        *(
            (of_targets(latent, logits, targets, weight, bias), of_targets(extended, logits, targets, joint))
            for of_targets in (soft_target_alignment, multilabel_alignment, multilabel_class_alignment)
        ),
    ]:
        torch.testing.assert_close(own, without_bias, atol=1e-6, rtol=0)


def test_a_sample_of_a_rare_class_opposes_a_head_that_has_only_learned_its_share() -> None:
    """Where the features say nothing, the bias holds the class prior: only with it a rare label stands out."""
    latent, weight, bias = torch.ones(2, 3), torch.zeros(2, 3), torch.tensor([2.0, -2.0])  # 98 % of the first class
    labels = torch.tensor([0, 1])
    logits = nn.functional.linear(latent, weight, bias)
    with_bias = head_alignment(latent, logits, labels, weight, bias)
    assert with_bias.tolist() == pytest.approx([0.5, -0.5])  # 4 / (‖[1, 1, 1, 1]‖ ‖[2, -2]‖ √2)
    assert head_alignment(latent, logits, labels, weight, bias, alignment="weight").tolist() == [0, 0]


@pytest.mark.parametrize("biased", [False, True])
def test_leaving_the_bias_out_is_an_option_by_name_only(biased: bool) -> None:
    latent, logits, weight, bias = make_head(10, 5.0, biased=biased)
    labels = telling_labels(logits)
    both = [head_alignment(latent, logits, labels, weight, bias, alignment=form) for form in ("head", "weight")]
    assert torch.equal(*both) is not biased
    with pytest.raises(RecordingError, match="`alignment` must be one of head, weight, not 'weights'"):
        head_alignment(latent, logits, labels, weight, bias, alignment="weights")


@pytest.mark.parametrize("largest_logit", [1.0, 30.0, 500.0])
@pytest.mark.parametrize("classes", [2, 3, 10, 1000])
def test_the_other_signals_are_those_of_the_exact_softmax(classes: int, largest_logit: float) -> None:
    latent, logits, weight, bias = make_head(classes, largest_logit, biased=True)
    labels = telling_labels(logits)

    signals = sample_signals(latent, logits, labels, weight, bias)

    for row, label in enumerate(labels.tolist()):
        exact = ExactSample(latent[row], logits[row], weight, bias)
        others = [c for c in range(classes) if c != label]
        expected_loss = -float(exact.probability[label].ln())
        assert signals.predicted_label[row] == logits[row].argmax()
        assert float(signals.loss[row]) == pytest.approx(expected_loss, rel=1e-5, abs=1e-30)
        assert float(signals.given_probability[row]) == pytest.approx(float(exact.probability[label]), abs=1e-6)
        assert float(signals.margin[row]) == float(logits[row, label] - logits[row, others].max())


@pytest.mark.parametrize("classes", [2, 3, 10, 1000])
def test_the_alternative_label_is_the_best_aligned_other_one(classes: int) -> None:
    latent, logits, weight, bias = make_head(classes, 20.0, biased=True, samples=64)
    labels = torch.arange(64) % classes

    signals = sample_signals(latent, logits, labels, weight, bias)

    every = counterfactual_alignment(latent, logits, weight, bias)
    others = every.scatter(1, labels[:, None], -2.0)
    best = others.gather(1, signals.alternative_label.long()[:, None])[:, 0]
    assert (signals.alternative_label != labels).all()
    torch.testing.assert_close(best, others.amax(1), atol=1e-6, rtol=0)
    torch.testing.assert_close(signals.alternative_alignment, best, atol=1e-6, rtol=0)


def test_signals_are_float32_and_int32_whatever_comes_in() -> None:
    head = [t.double() for t in make_head(10, 5.0, biased=True)]
    signals = sample_signals(head[0], head[1], torch.zeros(4, dtype=torch.int32), head[2], head[3])
    assert {name for name, t in signals._asdict().items() if t.dtype == torch.int32} == {
        "alternative_label",
        "predicted_label",
    }
    assert {t.dtype for t in signals} == {torch.int32, torch.float32}
    assert {t.shape for t in signals} == {(4,)}


@pytest.mark.parametrize(("biased", "form"), [(False, "head"), (False, "weight"), (True, "weight")])
def test_zero_latents_align_with_nothing(biased: bool, form: Alignment) -> None:
    _, _, weight, bias = make_head(10, 5.0, biased=biased)
    latent = torch.zeros(4, 16)
    logits = nn.functional.linear(latent, weight, bias)
    labels, one_hot = torch.arange(4), torch.eye(10)[:4]

    signals = sample_signals(latent, logits, labels, weight, bias, alignment=form)

    assert (head_alignment(latent, logits, labels, weight, bias, alignment=form) == 0).all()
    assert (counterfactual_alignment(latent, logits, weight, bias, alignment=form) == 0).all()
    assert (soft_target_alignment(latent, logits, one_hot, weight, bias, alignment=form) == 0).all()
    assert (multilabel_alignment(latent, logits, one_hot, weight, bias, alignment=form) == 0).all()
    assert (multilabel_class_alignment(latent, logits, one_hot, weight, bias, alignment=form) == 0).all()
    assert (signals.alignment == 0).all()
    assert (signals.alternative_alignment == 0).all()
    assert all(t.isfinite().all() for t in signals)


def test_a_zero_latent_aligns_with_the_bias() -> None:
    weight, bias, latent = torch.ones(3, 2), torch.tensor([3.0, 0.0, 0.0]), torch.zeros(3, 2)
    labels = torch.arange(3)
    alignment = head_alignment(latent, bias.expand(3, 3), labels, weight, bias)
    torch.testing.assert_close(alignment.double(), head_cosines(latent, labels, weight, bias), atol=1e-6, rtol=0)
    assert (alignment.sign() == torch.tensor([1, -1, -1])).all()


def test_zero_weights_align_with_nothing() -> None:
    latent, weight, labels = torch.ones(3, 4), torch.zeros(5, 4), torch.arange(3)
    assert (head_alignment(latent, torch.zeros(3, 5), labels, weight) == 0).all()


def test_a_latent_that_is_not_finite_stays_visible() -> None:
    latent, logits, weight, _ = make_head(10, 5.0, biased=False)
    latent[1], logits[1] = torch.nan, torch.nan
    alignment = head_alignment(latent, logits, torch.arange(4), weight)
    assert alignment.isnan().tolist() == [False, True, False, False]


@pytest.mark.parametrize(
    "targets",
    [
        pytest.param(torch.eye(10)[[1, 2, 3, 4]], id="one-hot"),
        pytest.param(0.9 * torch.eye(10)[[1, 2, 3, 4]] + 0.01, id="smoothed"),
        pytest.param(0.3 * torch.eye(10)[[1, 2, 3, 4]] + 0.7 * torch.eye(10)[[5, 2, 0, 9]], id="mixed"),
        pytest.param(torch.full((4, 10), 0.1), id="uniform"),
    ],
)
@pytest.mark.parametrize("largest_logit", [1.0, 30.0, 500.0])
@pytest.mark.parametrize("form", ["head", "weight"])
def test_soft_target_alignment_is_the_exact_one(targets: Tensor, largest_logit: float, form: Alignment) -> None:
    latent, logits, weight, bias = make_head(10, largest_logit, biased=True)

    alignment = soft_target_alignment(latent, logits, targets, weight, bias, alignment=form)

    for row in range(4):
        exact = ExactSample(latent[row], logits[row], weight, bias, form)
        expected = exact_cosine(decimals(targets[row]), exact.probability, exact.product, exact.norms)
        assert alignment[row] == pytest.approx(expected, abs=TOLERANCE)


def test_one_hot_targets_of_a_sure_model_do_not_underflow() -> None:
    latent, logits, weight, bias = make_head(10, 500.0, biased=True)
    labels = logits.argmax(1)
    soft = soft_target_alignment(latent, logits, nn.functional.one_hot(labels, 10), weight, bias)
    assert (soft != 0).all()
    torch.testing.assert_close(soft, head_alignment(latent, logits, labels, weight, bias))


@pytest.mark.parametrize("distance", [1e-1, 1e-3, 1e-5])
def test_targets_that_the_model_has_nearly_learnt_keep_their_digits(distance: float) -> None:
    latent, logits, weight, _ = make_head(10, 8.0, biased=False)
    moved = logits.double() + distance * torch.randn(
        4, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )
    targets = moved.softmax(1)  # float64, as float32 could not tell them from p

    alignment = soft_target_alignment(latent, logits, targets, weight)

    for row in range(4):
        exact = ExactSample(latent[row], logits[row], weight, None)
        expected = exact_cosine(decimals(targets[row]), exact.probability, exact.product, exact.norms)
        assert alignment[row] == pytest.approx(expected, abs=TOLERANCE)


def test_targets_equal_to_the_prediction_ask_for_nothing() -> None:
    latent = torch.ones(1, 3)
    assert soft_target_alignment(latent, torch.zeros(1, 2), torch.full((1, 2), 0.5), torch.zeros(2, 3)) == 0
    assert soft_target_alignment(latent, torch.full((1, 2), 3.0), torch.full((1, 2), 0.5), torch.ones(2, 3)) == 0


@pytest.mark.parametrize("largest_logit", [1.0, 30.0, 500.0])
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("form", ["head", "weight"])
def test_multilabel_alignment_is_the_exact_one(largest_logit: float, soft: bool, form: Alignment) -> None:
    latent, logits, weight, bias = make_head(10, largest_logit, biased=True)
    generator = torch.Generator().manual_seed(2)
    targets = (torch.rand(4, 10, generator=generator) < 0.3).float()
    targets[0] = (logits[0] > 0).float()  # a model sure of every class: t - σ is 0 in float32
    targets = targets * 0.9 + 0.05 if soft else targets

    alignment = multilabel_alignment(latent, logits, targets, weight, bias, alignment=form)
    by_class = multilabel_class_alignment(latent, logits, targets, weight, bias, alignment=form)

    for row in range(4):
        exact = ExactSample(latent[row], logits[row], weight, bias, form)
        wanted = decimals(targets[row])
        assert alignment[row] == pytest.approx(
            exact_cosine(wanted, exact.sigmoid, exact.product, exact.norms), abs=TOLERANCE
        )
        for c in range(10):
            norms = exact.latent_norm * exact.row_norms[c]
            expected = exact_cosine([wanted[c]], [exact.sigmoid[c]], [exact.product[c]], norms)
            assert by_class[row, c] == pytest.approx(expected, abs=TOLERANCE)


@pytest.mark.parametrize("form", ["head", "weight"])
def test_multilabel_alignment_is_the_cosine_of_the_gradient_that_autograd_finds(form: Alignment) -> None:
    latent, logits, weight, bias = make_head(5, 4.0, biased=True, samples=16)
    targets = (torch.rand(16, 5, generator=torch.Generator().manual_seed(3)) < 0.5).float()
    loss_of = nn.functional.binary_cross_entropy_with_logits
    expected = head_cosines(latent, targets.double(), weight, bias, loss_of=loss_of, alignment=form)
    alignment = multilabel_alignment(latent, logits, targets, weight, bias, alignment=form)
    torch.testing.assert_close(alignment.double(), expected, atol=TOLERANCE, rtol=0)


def test_of_two_classes_alignment_is_the_scaled_difference_of_their_scores() -> None:
    latent, logits, weight, bias = make_head(2, 500.0, biased=True)
    extended, joint = torch.cat([latent, torch.ones(4, 1)], 1).double(), torch.cat([weight, bias[:, None]], 1).double()
    expected = (logits[:, 0] - logits[:, 1]).double() / (extended.norm(dim=1) * joint.norm() * 2**0.5)
    every = counterfactual_alignment(latent, logits, weight, bias)
    torch.testing.assert_close(every.double(), torch.stack([expected, -expected], 1), atol=1e-6, rtol=0)


def test_two_classes_that_share_the_top_are_both_scored() -> None:
    latent = torch.tensor([[1.0, 0.0]])
    weight = torch.tensor([[2.0, 0.0], [2.0, 0.0], [-1.0, 0.0]])
    logits = latent @ weight.T
    every = counterfactual_alignment(latent, logits, weight)
    exact = ExactSample(latent[0], logits[0], weight, None)
    assert every[0].tolist() == pytest.approx([exact.alignment(c) for c in range(3)], abs=1e-6)


def test_autocast_and_a_given_weight_norm_change_nothing() -> None:
    latent, logits, weight, bias = make_head(10, 20.0, biased=True)
    labels = telling_labels(logits)
    plain = sample_signals(latent, logits, labels, weight, bias)
    with torch.autocast("cpu", torch.bfloat16):
        autocast = sample_signals(latent, logits, labels, weight, bias, weight_norm=frobenius_norm(weight))
    for expected, got in zip(plain, autocast, strict=True):
        assert torch.equal(expected, got)


def test_inputs_are_left_as_they_were_and_no_graph_is_kept() -> None:
    for biased in (False, True):
        head = [None if t is None else t.requires_grad_() for t in make_head(10, 20.0, biased=biased)]
        before = [None if t is None else t.detach().clone() for t in head]
        latent, logits, weight, bias = head
        results = [
            *sample_signals(latent, logits, torch.arange(4), weight, bias),
            counterfactual_alignment(latent, logits, weight, bias),
            head_alignment(latent, logits, torch.arange(4), weight, bias),
            soft_target_alignment(latent, logits, torch.eye(10)[:4], weight, bias),
            multilabel_alignment(latent, logits, torch.eye(10)[:4], weight, bias),
            multilabel_class_alignment(latent, logits, torch.eye(10)[:4], weight, bias),
        ]
        assert not any(result.requires_grad for result in results)
        assert all(b is None or torch.equal(t, b) for t, b in zip(head, before, strict=True))


def test_signals_never_wait_for_the_device() -> None:
    # A meta tensor has no values: whatever reads one back raises.
    latent, logits, weight = (torch.empty(shape, device="meta") for shape in ((8, 16), (8, 10), (10, 16)))
    labels = torch.empty(8, dtype=torch.int64, device="meta")
    signals = sample_signals(latent, logits, labels, weight, torch.empty(10, device="meta"))
    assert all(signal.shape == (8,) for signal in signals)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_signals_on_a_gpu_are_those_of_the_cpu_and_never_wait() -> None:
    latent, logits, weight, bias = make_head(10, 500.0, biased=True)
    labels = telling_labels(logits)
    on_gpu = [t.cuda() for t in (latent, logits, labels, weight, bias)]
    torch.cuda.set_sync_debug_mode("error")
    try:
        signals = sample_signals(*on_gpu)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for expected, got in zip(sample_signals(latent, logits, labels, weight, bias), signals, strict=True):
        torch.testing.assert_close(got.cpu(), expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("shape", [(1000, 4096), (64, 64, 9), (7,), ()])
def test_the_frobenius_norm_is_exact_however_many_elements_there_are(shape: tuple[int, ...]) -> None:
    weight = torch.full(shape, 0.3)  # torch.norm in float32 is off by 8e-4 for four million of these
    assert float(frobenius_norm(weight)) == pytest.approx(float(weight.double().norm()), rel=2e-6)


def test_what_does_not_fit_is_refused_with_its_shapes() -> None:
    latent, logits, weight, bias = make_head(10, 5.0, biased=True)
    labels = torch.arange(4)
    with pytest.raises(RecordingError, match=r"logits \[4, 9\] and weight \[10, 16\]"):
        head_alignment(latent, logits[:, :9], labels, weight, bias)
    with pytest.raises(RecordingError, match=r"latent \[4, 15\]"):
        counterfactual_alignment(latent[:, :15], logits, weight)
    with pytest.raises(RecordingError, match=r"labels: expected integers of shape \[4\].*\[3\]"):
        sample_signals(latent, logits, labels[:3], weight)
    with pytest.raises(RecordingError, match=r"labels: expected integers.*float32"):
        head_alignment(latent, logits, labels.float(), weight)
    with pytest.raises(RecordingError, match=r"bias: expected shape \[10\].*\[1\]"):
        head_alignment(latent, logits, labels, weight, bias[:1])
    with pytest.raises(RecordingError, match=r"targets: expected shape \[4, 10\]"):
        soft_target_alignment(latent, logits, labels, weight)
    with pytest.raises(RecordingError, match="at least 2 classes"):
        head_alignment(latent, logits[:, :1], torch.zeros(4, dtype=torch.int64), weight[:1])


def test_the_examples_in_the_documentation_run() -> None:
    assert doctest.testmod(gwaudit.recording.alignment).failed == 0
