"""What holds of every head: the range of a cosine, blindness to scale, the textbook form where that is sound."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from gwaudit.core.settings import Alignment
from gwaudit.recording.alignment import (
    counterfactual_alignment,
    head_alignment,
    sample_signals,
    soft_target_alignment,
)
from gwaudit.recording.multilabel import multilabel_alignment, multilabel_class_alignment

Head = tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None]


@st.composite
def heads(draw: st.DrawFn, largest_logit: float = 500.0, dtypes: tuple[torch.dtype, ...] = (torch.float32,)) -> Head:
    """Latent, logits, labels, weight and bias of a linear head."""
    samples, features = draw(st.integers(1, 8)), draw(st.integers(1, 32))
    classes = draw(st.integers(2, 50))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32 - 1)))
    latent = torch.randn(samples, features, generator=generator)
    latent = latent.relu() if draw(st.booleans()) else latent
    weight = torch.randn(classes, features, generator=generator)
    scale = draw(st.floats(0.01, largest_logit)) / (latent @ weight.T).abs().amax().clamp_min(0.1)
    bias = torch.randn(classes, generator=generator) if draw(st.booleans()) else None
    dtype = draw(st.sampled_from(dtypes))
    latent, weight, bias = latent.to(dtype), (weight * scale).to(dtype), None if bias is None else bias.to(dtype)
    labels = torch.randint(classes, (samples,), generator=generator)
    return latent, nn.functional.linear(latent, weight, bias), labels, weight, bias


FORMS = st.sampled_from(["head", "weight"])


@given(heads(dtypes=(torch.float16, torch.bfloat16, torch.float32, torch.float64)), FORMS)
@settings(deadline=None)
def test_every_alignment_lies_between_minus_one_and_one(head: Head, form: Alignment) -> None:
    latent, logits, labels, weight, bias = head
    targets = nn.functional.one_hot(labels, len(weight)).float() * 0.8 + 0.2 / len(weight)
    signals = sample_signals(latent, logits, labels, weight, bias, alignment=form)
    for alignment in (
        head_alignment(latent, logits, labels, weight, bias, alignment=form),
        counterfactual_alignment(latent, logits, weight, bias, alignment=form),
        soft_target_alignment(latent, logits, targets, weight, bias, alignment=form),
        multilabel_alignment(latent, logits, targets, weight, bias, alignment=form),
        multilabel_class_alignment(latent, logits, targets, weight, bias, alignment=form),
        signals.alignment,
        signals.alternative_alignment,
    ):
        assert alignment.isfinite().all()
        assert (alignment.abs() <= 1).all()


@given(heads(), st.floats(1e-6, 1e6))
@settings(deadline=None)
def test_a_larger_latent_under_the_same_logits_and_smaller_weights_changes_nothing(head: Head, factor: float) -> None:
    latent, logits, labels, weight, bias = head
    expected = sample_signals(latent, logits, labels, weight, bias, alignment="weight")
    got = sample_signals(latent * factor, logits, labels, weight / factor, bias, alignment="weight")
    torch.testing.assert_close(got.alignment, expected.alignment, atol=1e-6, rtol=0)
    torch.testing.assert_close(got.alternative_alignment, expected.alternative_alignment, atol=1e-6, rtol=0)


@given(heads(), st.floats(1e-3, 1e3))
@settings(deadline=None)
def test_of_two_classes_alignment_does_not_see_the_scale_of_latent_or_weight(head: Head, factor: float) -> None:
    # With more classes the softmax sharpens as the logits grow; of two, q is 1 whatever they are.
    latent, _, labels, weight, _ = head
    weight, labels = weight[:2], labels % 2
    expected = head_alignment(latent, latent @ weight.T, labels, weight)
    larger_latent = head_alignment(latent * factor, (latent * factor) @ weight.T, labels, weight)
    larger_weight = head_alignment(latent, latent @ (weight * factor).T, labels, weight * factor)
    torch.testing.assert_close(larger_latent, expected, atol=5e-6, rtol=0)
    torch.testing.assert_close(larger_weight, expected, atol=5e-6, rtol=0)


@given(heads(), st.floats(1e-3, 1e3))
@settings(deadline=None)
def test_scaling_the_weights_at_fixed_predictions_scales_nothing(head: Head, factor: float) -> None:
    # Without the bias, u = l - b scales with W while a bias keeps the logits, hence p, as they were: the cosine stays.
    latent, logits, labels, weight, bias = head
    unbiased = logits if bias is None else logits - bias
    before, after = (logits[0].double() - scale * unbiased[0].double() for scale in (1, factor))
    expected = head_alignment(latent, logits.double(), labels, weight, before, alignment="weight")
    larger = head_alignment(latent[:1], logits[:1].double(), labels[:1], weight * factor, after, alignment="weight")
    torch.testing.assert_close(larger[0], expected[0], atol=1e-5, rtol=0)


@given(heads(largest_logit=5.0), FORMS)
@settings(deadline=None)
def test_the_textbook_form_agrees_where_it_is_sound(head: Head, form: Alignment) -> None:
    latent, logits, labels, weight, bias = head
    one_hot = nn.functional.one_hot(labels, len(weight)).double()
    difference = one_hot - logits.double().softmax(1)
    z, parameters = latent.double(), weight.double()
    if bias is not None and form == "head":
        z, parameters = torch.cat([z, torch.ones(len(z), 1)], 1), torch.cat([parameters, bias.double()[:, None]], 1)
    norms = z.norm(dim=1) * parameters.norm()
    expected = (difference * (z @ parameters.T)).sum(1) / (norms * difference.norm(dim=1)).clamp_min(1e-300)
    got = head_alignment(latent, logits, labels, weight, bias, alignment=form)
    torch.testing.assert_close(got.double(), expected, atol=1e-5, rtol=0)


@given(heads(), FORMS)
@settings(deadline=None)
def test_all_functions_agree_on_the_given_label(head: Head, form: Alignment) -> None:
    latent, logits, labels, weight, bias = head
    targets = nn.functional.one_hot(labels, len(weight))
    expected = head_alignment(latent, logits, labels, weight, bias, alignment=form)
    every = counterfactual_alignment(latent, logits, weight, bias, alignment=form).gather(1, labels[:, None])[:, 0]
    recorded = sample_signals(latent, logits, labels, weight, bias, alignment=form).alignment
    one_hot = soft_target_alignment(latent, logits, targets, weight, bias, alignment=form)
    for got in (every, recorded, one_hot):
        torch.testing.assert_close(got, expected, atol=1e-6, rtol=0)


@given(heads())
@settings(deadline=None)
def test_the_order_of_the_classes_does_not_matter(head: Head) -> None:
    latent, logits, _, weight, bias = head
    order = torch.arange(len(weight)).flip(0)
    every = counterfactual_alignment(latent, logits, weight, bias)
    flipped = counterfactual_alignment(latent, logits[:, order], weight[order], None if bias is None else bias[order])
    torch.testing.assert_close(flipped, every[:, order], atol=1e-6, rtol=0)
