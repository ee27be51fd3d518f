"""Classes that mirroring exchanges are found before a training mirrors images, and others are not."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from gwaudit import DataSettings, RefinementSettings, TrainingSettings, load_dataset
from gwaudit.data.dataset import LabeledDataset
from gwaudit.data.inputs import InMemory
from gwaudit.pipeline.audit import load_and_train
from gwaudit.training.mirrored_classes import exchanged_classes
from helpers.command import gwaudit


def draw_arrow(right, rng, side=24):
    image = Image.fromarray(rng.integers(100, 140, (side, side), np.uint8))
    x, y = rng.uniform(9, 15, 2)
    length = rng.uniform(4, 6) * (1 if right else -1)
    draw = ImageDraw.Draw(image)
    draw.line((x - length, y, x + length, y), fill=230, width=2)
    for sign in (-1, 1):
        draw.line((x + length, y, x + length * 0.3, y + sign * abs(length) * 0.6), fill=230, width=2)
    return image


def arrows(n, noise=0.0):
    rng = np.random.default_rng(0)
    right = rng.integers(0, 2, n)
    images = np.stack([np.asarray(draw_arrow(side, rng)) for side in right])
    labels = np.where(rng.random(n) < noise, 1 - right, right)
    keys = [str(i) for i in range(n)]
    return LabeledDataset("arrows", InMemory(torch.from_numpy(images)[:, None]), labels, ("left", "right"), keys)


@pytest.mark.parametrize(("n", "noise"), [(100, 0.0), (150, 0.1), (800, 0.3)])
def test_arrows_to_the_left_and_to_the_right_are_found(n, noise):
    (pair,) = exchanged_classes(arrows(n, noise))
    assert (pair.first, pair.second) == ("left", "right")
    assert pair.share > 0.7


def test_left_is_found_beside_a_class_of_all_others():
    dataset = arrows(800)
    turned = torch.arange(800) % 3 == 0
    pixels = torch.where(turned[:, None, None, None], dataset.inputs.values.transpose(2, 3), dataset.inputs.values)
    labels = np.where(turned.numpy(), 1, dataset.labels)
    other = dataclasses.replace(dataset, inputs=InMemory(pixels), labels=labels, class_names=("left", "other"))
    assert [(pair.first, pair.second) for pair in exchanged_classes(other)] == [("left", "other")]


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_digits_are_not_exchanged(noise):
    digits = load_dataset("digits")
    rng = np.random.default_rng(0)
    wrong = rng.random(len(digits)) < noise
    labels = np.where(wrong, rng.integers(0, 10, len(digits)), digits.labels)
    assert exchanged_classes(digits.with_labels(labels)) == []


@pytest.mark.parametrize("n_classes", [2, 3, 7])
def test_random_labels_are_not_exchanged(n_classes):
    dataset = arrows(400)
    labels = np.random.default_rng(1).integers(0, n_classes, 400)
    dataset = dataclasses.replace(dataset, labels=labels, class_names=tuple(map(str, range(n_classes))))
    assert exchanged_classes(dataset) == []


def test_constant_images_and_rare_classes_are_no_error():
    blank = InMemory(torch.zeros(6, 3, 8, 8, dtype=torch.uint8))
    dataset = LabeledDataset("blank", blank, np.array([0, 0, 0, 0, 1, 2]), tuple("abcd"), list("uvwxyz"))
    assert exchanged_classes(dataset) == []


def test_no_random_state_is_changed():
    before = torch.random.get_rng_state()
    exchanged_classes(arrows(60))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_an_audit_warns_unless_it_does_not_mirror(tmp_path):
    rng = np.random.default_rng(0)
    for right, name in enumerate(("left", "right")):
        (tmp_path / "arrows" / name).mkdir(parents=True)
        for i in range(40):
            draw_arrow(right, rng).save(tmp_path / "arrows" / name / f"{i}.png")
    options = ("--epochs", "1", "--batch-size", "40", "--dtype", "float32")
    result = gwaudit("audit", tmp_path / "arrows", "-o", tmp_path / "run", *options)
    shown = " ".join(result.stderr.split())
    assert "look like the other: 'left' and 'right'" in shown
    assert "Use --augment crop" in shown
    assert "look like the other" in (tmp_path / "run" / "report.html").read_text()
    assert "look like the other" in json.dumps(json.loads((tmp_path / "run" / "run.json").read_text()))
    data, training = DataSettings(str(tmp_path / "arrows")), TrainingSettings(epochs=1, augment="crop")
    warnings = load_and_train(data, tmp_path / "kept", training)[0].notes.warnings
    assert not [warning for warning in warnings if "look like the other" in warning]


def test_a_training_that_does_not_mirror_is_not_refined_by_one_that_does():
    refinement = RefinementSettings(refine=1, refine_as="whitened")
    for augment in ("crop", "none"):
        refined = refinement.training(TrainingSettings(augment=augment), 1)
        assert (refined.augment, refined.mirrors, refined.final_passes) == (augment, False, 1)
    assert refinement.training(TrainingSettings(), 1).augment == "shift-flip"
    assert not TrainingSettings(backbone="frozen", pretrained=True).mirrors
    assert DataSettings("digits").fit == "squash"
