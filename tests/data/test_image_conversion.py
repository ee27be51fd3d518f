"""Deep and transparent images become the 8-bit images that they stand for, by one rule for a data set."""

import io
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from gwaudit.data import images
from gwaudit.data.image_conversion import ImageConversion, Measurement, NumberRange, choose_conversion
from gwaudit.data.loading import load_dataset
from helpers.making import all_pixels, make_parquet

N = 6
GREY = np.random.default_rng(0).integers(0, 256, (N, 12, 12)).astype(np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (N, 12, 12, 3)).astype(np.uint8)


def encoded(values, format="PNG"):
    content = io.BytesIO()
    Image.fromarray(values).save(content, format)
    return content.getvalue()


def png16(values):
    """Return a PNG of [H, W, 3 or 4] uint16, which Pillow does not write."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    height, width, channels = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, {3: 2, 4: 6}[channels], 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def load(folder, contents, **options):
    """Load images of two classes from a folder, in their order."""
    for i, content in enumerate(contents):
        path = folder / ("cat", "dog")[i >= len(contents) // 2] / f"{i:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return load_dataset(folder, **options)


TWELVE_BITS = GREY.astype(np.uint16) * 16
FLOATS = (GREY / 255).astype(np.float32)


@pytest.mark.parametrize(("contents", "remark"), [
    ([encoded(v) for v in TWELVE_BITS], "with more than 8 bits a channel are scaled from 0..4095 to 0..255"),
    ([encoded(v, "TIFF") for v in TWELVE_BITS], "0..4095"),
    ([encoded(v.astype(">u2"), "TIFF") for v in TWELVE_BITS], "0..4095"),
    ([encoded(v.astype(np.int32) - 1000, "TIFF") for v in TWELVE_BITS], "-1000..3080"),
    ([encoded(v.astype(np.uint16) * 257) for v in GREY], "0..65535"),
    ([encoded(v, "TIFF") for v in FLOATS], "of floating-point numbers are scaled from 0..1 to 0..255"),
    ([encoded(v * 2 - 1, "TIFF") for v in FLOATS], "-1..1"),
    ([encoded(v * 7 + 3, "TIFF") for v in FLOATS], "3..10"),
    ([encoded(v.astype(np.float32), "TIFF") for v in GREY], None),
])  # fmt: skip
def test_deep_grey_images_are_scaled_by_one_range(tmp_path, contents, remark):
    dataset = load(tmp_path, contents)
    np.testing.assert_allclose(all_pixels(dataset)[:, 0].astype(int), GREY, atol=1)
    assert [remark in text for text in dataset.notes.remarks] == [True] if remark else dataset.notes.remarks == []


@pytest.mark.parametrize("factor", [16, 257])
def test_colour_with_16_bits_a_channel_keeps_its_lower_bits(tmp_path, factor):
    dataset = load(tmp_path, [png16(v.astype(np.uint16) * factor) for v in COLOUR])
    np.testing.assert_allclose(all_pixels(dataset).transpose(0, 2, 3, 1).astype(int), COLOUR, atol=1)


def test_transparent_colour_with_16_bits_is_scaled_and_put_on_a_background(tmp_path):
    alpha = np.zeros((12, 12, 1), np.uint16)
    alpha[:6] = 65535
    dataset = load(tmp_path, [png16(np.dstack([v.astype(np.uint16) * 16, alpha])) for v in COLOUR])
    pixels = all_pixels(dataset).transpose(0, 2, 3, 1).astype(int)
    np.testing.assert_allclose(pixels[:, :6], COLOUR[:, :6], atol=1)
    assert (pixels[:, 6:] == 255).all()


def test_images_decoded_each_time_have_the_same_range(tmp_path, monkeypatch):
    contents = [*(encoded(v) for v in TWELVE_BITS), *(png16(v.astype(np.uint16) * 8) for v in COLOUR)]
    held = load(tmp_path, contents)
    for name in ("IN_MEMORY_BYTES", "_HELD_BYTES"):
        monkeypatch.setattr(images, name, 0)
    decoded_each_time = load_dataset(tmp_path)
    assert type(decoded_each_time.inputs) is not type(held.inputs)
    np.testing.assert_array_equal(all_pixels(held), all_pixels(decoded_each_time))
    assert held.image_conversion == decoded_each_time.image_conversion == ImageConversion(integers=(0, 4095))


def drawing(ink, mask):
    """Return an RGBA image that is one colour, drawn by its alpha channel."""
    return encoded(np.dstack([np.full((*mask.shape, 3), ink, np.uint8), mask]))


@pytest.mark.parametrize(("ink", "background"), [(0, "white"), (255, "black"), (128, "white")])
def test_a_drawing_in_the_alpha_channel_is_seen(tmp_path, ink, background):
    masks = np.where(GREY > 128, 255, 0).astype(np.uint8)
    dataset = load(tmp_path, [drawing(ink, mask) for mask in masks])
    np.testing.assert_array_equal(all_pixels(dataset)[:, 0] == ink, masks == 255)
    assert dataset.notes.remarks == [f"transparent images are put on a {background} background"]
    assert dataset.notes.warnings == []


def test_grey_drawings_with_alpha_are_seen(tmp_path):
    masks = np.where(GREY > 128, 255, 0).astype(np.uint8)
    contents = []
    for mask in masks:
        content = io.BytesIO()
        Image.merge("LA", (Image.new("L", (12, 12)), Image.fromarray(mask))).save(content, "PNG")
        contents.append(content.getvalue())
    np.testing.assert_array_equal(all_pixels(load(tmp_path, contents))[:, 0], 255 - masks)


def test_an_image_that_is_transparent_everywhere_keeps_its_colours(tmp_path):
    dataset = load(tmp_path, [encoded(np.dstack([v, np.zeros((12, 12), np.uint8)])) for v in COLOUR])
    np.testing.assert_array_equal(all_pixels(dataset).transpose(0, 2, 3, 1), COLOUR)


def test_a_hot_pixel_does_not_make_the_others_black(tmp_path):
    tiled = np.tile(GREY, (1, 4, 4)).astype(np.uint16)
    tiled[:, 0, 0] = 65535
    dataset = load(tmp_path, [encoded(v) for v in tiled])
    np.testing.assert_array_equal(all_pixels(dataset)[:, 0, 12:24, 12:24], GREY)
    assert "clips outliers" in dataset.notes.remarks[0]


@pytest.mark.parametrize("format", ["GIF", "TIFF", "WEBP"])
def test_the_first_page_or_frame_is_read_and_noted(tmp_path, format):
    frames = [Image.fromarray(v) for v in COLOUR]
    contents = []
    for i in range(N):
        content = io.BytesIO()
        frames[i].save(content, format, save_all=True, append_images=frames[:3], lossless=True)
        contents.append(content.getvalue())
    dataset = load(tmp_path, contents)
    np.testing.assert_array_equal(all_pixels(dataset).transpose(0, 2, 3, 1), COLOUR)
    assert dataset.notes.remarks == ["6 images have several pages or frames: the first is read"]


def test_bytes_in_a_column_are_decoded_by_the_same_rule(tmp_path):
    contents = [encoded(v) for v in TWELVE_BITS]
    make_parquet(tmp_path / "train-0.parquet", contents, [0, 1] * (N // 2))
    np.testing.assert_allclose(all_pixels(load_dataset(tmp_path))[:, 0].astype(int), GREY, atol=1)


class Items(torch.utils.data.Dataset):
    def __init__(self, inputs):
        self.inputs = inputs

    def __len__(self):
        return len(self.inputs)

    def __getitem__(self, row):
        return self.inputs[row], row % 2


@pytest.mark.parametrize("in_memory", [True, False])
def test_images_of_a_torch_data_set_are_decoded_by_the_same_rule(monkeypatch, in_memory):
    if not in_memory:
        monkeypatch.setattr("gwaudit.data.readers.torch_dataset.IN_MEMORY_BYTES", 0)
    dataset = load_dataset(Items([Image.fromarray(v) for v in TWELVE_BITS]))
    np.testing.assert_allclose(all_pixels(dataset)[:, 0].astype(int), GREY, atol=1)
    assert "0..4095" in dataset.notes.remarks[0]
    masks = np.where(GREY > 128, 255, 0).astype(np.uint8)
    drawn = load_dataset(Items([Image.open(io.BytesIO(drawing(255, mask))) for mask in masks]))
    np.testing.assert_array_equal(all_pixels(drawn)[:, 0], masks)


def test_arrays_of_a_torch_data_set_may_be_of_any_type():
    for values in (COLOUR / 255, COLOUR.astype(np.uint16) * 16, COLOUR.astype(">f4")):
        dataset = load_dataset(Items(list(values)))
        assert dataset.input_shape == (3, 12, 12)
        np.testing.assert_allclose(all_pixels(dataset), values.transpose(0, 3, 1, 2).astype(np.float32))
    holed = FLOATS[:, None].copy()
    holed[2, 0, 3, 3] = np.nan
    skipped = load_dataset(Items(list(torch.from_numpy(holed))), on_error="skip").skipped
    assert [(one.row, one.reason) for one in skipped] == [(2, "DataError: the image holds a NaN or an infinity")]


@pytest.mark.parametrize(("values", "expected"), [
    (TWELVE_BITS, GREY[:, None]),
    (COLOUR.astype(np.uint16) * 16, COLOUR.transpose(0, 3, 1, 2)),
    (FLOATS, GREY[:, None]),
    (COLOUR.transpose(0, 3, 1, 2).astype(np.int64), COLOUR.transpose(0, 3, 1, 2)),
    (GREY > 128, 255 * (GREY > 128)[:, None]),
    (GREY.astype(">i4"), GREY[:, None]),
])  # fmt: skip
def test_arrays_of_any_type_are_images(tmp_path, values, expected):
    np.savez(tmp_path / "a.npz", x=values, y=np.arange(N) % 2)
    np.testing.assert_allclose(all_pixels(load_dataset(tmp_path / "a.npz")).astype(int), expected, atol=1)


def test_an_image_with_a_nan_in_an_array_is_a_broken_row(tmp_path):
    values = FLOATS.copy()
    values[1, 2, 3] = np.inf
    np.savez(tmp_path / "a.npz", x=values, y=np.arange(N) % 2)
    dataset = load_dataset(tmp_path / "a.npz", on_error="skip")
    assert [skipped.reason for skipped in dataset.skipped] == ["the image holds a NaN or an infinity"]
    np.testing.assert_allclose(all_pixels(dataset)[:, 0].astype(int), np.delete(GREY, 1, 0), atol=1)


def test_the_range_of_a_data_set_does_not_depend_on_the_order_of_its_images():
    ranges = [NumberRange(False, 0, 1, high, high) for high in (100.0, 300.0, 1500.0)]
    chosen = {choose_conversion(Measurement(r) for r in order)[0] for order in (ranges, ranges[::-1])}
    assert chosen == {ImageConversion(integers=(0, 2047))}
