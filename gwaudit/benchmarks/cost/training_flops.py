"""Count the operations of a training, which do not depend on the machine."""

import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from gwaudit.training.models import build_feature_head, build_model


def training_flops(model: str, input_shape: tuple[int, ...], n_classes: int) -> float:
    """Return the floating point operations of one sample's training step, forward and backward.

    Counted are convolutions and matrix products, as torch counts them: a multiplication and an addition are two.

    Args:
        model: Name of the model; of features, a linear head is counted in its place.
        input_shape: Shape of an image, (C, H, W), or of features, (D,).
        n_classes: Number of classes of the head.
    """
    if len(input_shape) == 1:
        network = build_feature_head("linear", n_features=input_shape[0], n_classes=n_classes)
    else:
        network = build_model(model, n_classes=n_classes, in_chans=input_shape[0], image_size=input_shape[1])
    inputs, labels = torch.zeros(2, *input_shape), torch.zeros(2, dtype=torch.long)
    with FlopCounterMode(display=False) as counter:
        torch.autograd.backward([functional.cross_entropy(network(inputs), labels)])
    return float(counter.get_total_flops()) / len(inputs)


def feature_flops(model: str, input_shape: tuple[int, ...]) -> float:
    """Return the floating point operations of the features of one image: a forward pass, counted in the same way."""
    network = build_model(model, n_classes=2, in_chans=input_shape[0], image_size=input_shape[1]).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, *input_shape))
    return float(counter.get_total_flops())
