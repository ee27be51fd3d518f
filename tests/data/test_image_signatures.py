"""The first bytes of a file say its format, and a text may be an image in base64."""

import base64
import io

import numpy as np
import pandas as pd
import pytest

from gwaudit.data.image_signatures import image_kind, image_of_base64
from gwaudit.data.loading import load_dataset
from helpers.making import all_pixels, picture, png


@pytest.mark.parametrize(("format", "kind"), [
    ("PNG", "PNG"), ("JPEG", "JPEG"), ("GIF", "GIF"), ("BMP", "BMP"), ("TIFF", "TIFF"), ("WEBP", "WebP"),
    ("JPEG2000", "JPEG 2000"), ("PPM", "Netpbm"),
])  # fmt: skip
def test_files_that_pillow_writes_are_recognised(format, kind):
    content = io.BytesIO()
    picture(0).save(content, format)
    assert image_kind(content.getvalue()[:32]) == kind


@pytest.mark.parametrize("start", [b"", b"BMW is a car, not a bitmap", b"P1: the patient", b"GIF", b"cat\n" * 8])
def test_texts_are_no_images(start):
    assert image_kind(start) is None


@pytest.mark.parametrize("text", ["cat/1.png", "", "ü", "data:image/png;base64,", base64.b64encode(b"x" * 90).decode()])
def test_other_texts_are_no_images_in_base64(text):
    assert image_of_base64(text) is None


def test_a_column_of_base64_is_decoded(tmp_path):
    texts = [base64.b64encode(png(i)).decode() for i in range(6)]
    texts[1] = f"data:image/png;base64,{texts[1]}"
    texts[5] = texts[5][: len(texts[5]) // 2]
    pd.DataFrame({"image": texts, "label": ["cat", "dog"] * 3}).to_csv(tmp_path / "a.csv", index=False)
    dataset = load_dataset(tmp_path / "a.csv", on_error="skip")
    assert list(dataset.keys) == [f"train/00000{i}" for i in range(5)]
    assert "6 images in the column image are decoded from base64" in dataset.notes.remarks
    assert [skipped.row for skipped in dataset.skipped] == [5]
    np.testing.assert_array_equal(all_pixels(dataset)[1].transpose(1, 2, 0), np.asarray(picture(1)))
