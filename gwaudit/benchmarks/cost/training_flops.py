"""Count the operations of a training, which do not depend on the machine."""

import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from gwaudit.training.models import build_model


def training_flops(model: str, input_shape: tuple[int, ...], n_classes: int) -> float:
    """Return the floating point operations of one sample's training step, forward and backward.

    Counted are convolutions and matrix products, as torch counts them: a multiplication and an addition are two.

    Args:
        model: Name of the model.
        input_shape: Shape of an image, (C, H, W).
        n_classes: Number of classes of the head.
    """
    channels, height, _ = input_shape
    network = build_model(model, n_classes=n_classes, in_chans=channels, image_size=height)
    inputs, labels = torch.zeros(2, *input_shape), torch.zeros(2, dtype=torch.long)
    with FlopCounterMode(display=False) as counter:
        torch.autograd.backward([functional.cross_entropy(network(inputs), labels)])
    return float(counter.get_total_flops()) / len(inputs)
