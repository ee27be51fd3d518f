"""Every decoder error is one named error, odd orientations are ignored, and 8-bit images are Pillow's."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageOps, PngImagePlugin

from gwaudit.data.fitting import ImageFit
from gwaudit.data.image_conversion import ImageConversion
from gwaudit.data.image_decoding import UnreadableImageError, load_image, read_header
from gwaudit.data.loading import load_dataset
from helpers.making import make_tree, picture

ORIENTATION = struct.pack("<HHII", 0x0112, 3, 1, 6)


def encoded(image, format="PNG", **options):
    content = io.BytesIO()
    image.save(content, format, **options)
    return content.getvalue()


def decoded(content):
    return np.asarray(load_image(content).to_rgb(ImageConversion()))


@pytest.mark.parametrize(("mode", "format"), [
    ("RGB", "PNG"), ("RGB", "JPEG"), ("L", "PNG"), ("1", "PNG"), ("P", "PNG"), ("P", "GIF"), ("LA", "PNG"),
    ("RGBA", "PNG"), ("CMYK", "JPEG"), ("CMYK", "TIFF"), ("RGB", "WEBP"), ("RGB", "BMP"),
    ("L", "JPEG2000"), ("RGB", "PPM"),
])  # fmt: skip
@pytest.mark.parametrize("orientation", [None, 1, 6, 7])
def test_opaque_8_bit_images_decode_as_pillow_decodes_them(mode, format, orientation):
    options = {}
    if orientation is not None and format in ("PNG", "JPEG", "TIFF", "WEBP"):
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = orientation
    content = encoded(picture(0, (30, 20), mode), format, **options)
    with Image.open(io.BytesIO(content)) as file:
        expected = np.asarray(ImageOps.exif_transpose(file).convert("RGB"))
    np.testing.assert_array_equal(decoded(content), expected)


@pytest.mark.parametrize("damage", [
    lambda content: content.replace(ORIENTATION, struct.pack("<HHII", 0x0112, 3, 9, 6)),
    lambda content: content.replace(ORIENTATION, struct.pack("<HHII", 0x0112, 2, 4, 0x363636)),
    lambda content: content.replace(b"II*\0\x08\0\0\0", b"II*\0\xff\0\0\0"),
])  # fmt: skip
@pytest.mark.filterwarnings("ignore::UserWarning")  # of Pillow, about the metadata
def test_a_damaged_orientation_leaves_the_image_as_it_is_stored(damage):
    exif = Image.Exif()
    exif[0x0112] = 6
    exif.endian = "<"
    content = encoded(picture(0, (30, 20)), "JPEG", exif=exif)
    assert decoded(content).shape == (30, 20, 3)
    assert (damaged := damage(content)) != content
    assert decoded(damaged).shape == (20, 30, 3)


@pytest.mark.parametrize(("content", "reason"), [
    (b"", "is empty"),
    (b"\n<!DOCTYPE html><html>", "a web page"),
    (b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS pointer.*git lfs pull"),
    (b"<svg xmlns=", "SVG"),
    (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "pip install pillow-heif"),
    (b"cat", "not an image of a known format"),
    (encoded(picture(0))[:100], "truncated"),
    (encoded(picture(0), "JPEG")[:200], "."),
    (encoded(Image.fromarray(np.full((4, 4), np.nan, np.float32)), "TIFF"), "row 0, column 0 is nan"),
])  # fmt: skip
def test_what_cannot_be_decoded_says_why(content, reason):
    with pytest.raises(UnreadableImageError, match=reason):
        load_image(content).measure()


@pytest.mark.filterwarnings("ignore::UserWarning")  # of Pillow, about the metadata
def test_random_damage_never_raises_another_error():
    random = np.random.default_rng(0)
    exif = Image.Exif()
    exif[0x0112], exif[0x011A] = 6, 72.0
    whole = [encoded(picture(0, (30, 20)), format, exif=exif) for format in ("JPEG", "PNG", "TIFF", "WEBP")]
    raised = 0
    for turn in range(400):
        content = bytearray(whole[turn % 4])
        for position in random.integers(2, 200, 4):
            content[position] = random.integers(256)
        try:
            read_header(bytes(content))
            decoded(bytes(content))
        except UnreadableImageError:
            raised += 1
    assert 100 < raised < 400


@pytest.mark.parametrize("error", [struct.error("x"), TypeError(), AttributeError("x"), RuntimeError("x"), KeyError(1)])
def test_any_error_of_a_decoder_is_a_broken_row(tmp_path, monkeypatch, error):
    paths = make_tree(tmp_path)
    load = PngImagePlugin.PngImageFile.load

    def fail(file):
        if file.filename == str(paths[1]):
            raise error
        return load(file)

    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", fail)
    dataset = load_dataset(tmp_path, on_error="skip")
    assert [skipped.key for skipped in dataset.skipped] == ["cat/001.png"]
    assert dataset.skipped[0].reason.startswith("the image cannot be read: ")


def test_a_decompression_bomb_is_a_broken_row(tmp_path, monkeypatch, recwarn):
    make_tree(tmp_path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    picture(0, (14, 14)).save(tmp_path / "cat" / "000.png")
    picture(0, (14, 14)).save(tmp_path / "dog" / "000.png")
    dataset = load_dataset(tmp_path, on_error="skip")
    assert [skipped.key[-5:] for skipped in dataset.skipped] == ["1.png", "2.png"] * 2
    assert "DecompressionBombError" in dataset.skipped[0].reason
    assert not recwarn.list
    assert any("DecompressionBomb" in remark or "exceeds limit" in remark for remark in dataset.notes.remarks)


def test_small_images_that_are_turned_have_the_size_after_the_turn(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    for name, options, size in (("cat", {}, (20, 30)), ("dog", {"exif": exif}, (30, 20))):
        (tmp_path / name).mkdir()
        for i in range(2):
            picture(i, size).save(tmp_path / name / f"{i}.jpg", **options)
    assert load_dataset(tmp_path).input_shape == (3, 30, 20)


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate"])
def test_a_damaged_tiff_is_an_error_with_a_reason_and_prints_nothing(compression, capfd):
    content = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(content, "TIFF", compression=compression)
    damaged = bytearray(content.getvalue())
    damaged[4000:4200] = bytes(200)
    with pytest.raises(UnreadableImageError, match="its pixels are damaged"):
        load_image(bytes(damaged))
    assert "".join(capfd.readouterr()) == "", "libtiff prints to the terminal by default"


@pytest.mark.parametrize("fit", ["squash", "crop", "pad"])
@pytest.mark.parametrize(("size", "is_reduced"), [((1600, 1200), True), ((896, 2048), True), ((440, 440), False)])
def test_a_large_jpeg_is_decoded_smaller_and_looks_the_same(fit, size, is_reduced):
    content = encoded(picture(1, (24, 24)).resize(size, Image.Resampling.BICUBIC), "JPEG", quality=95)
    square = ImageFit(112, fit)
    whole, reduced = load_image(content).image, load_image(content, square.least_size).image
    assert (reduced.width < whole.width) is is_reduced
    assert (max if fit == "pad" else min)(reduced.size) >= 224  # twice the side
    difference = np.abs(np.asarray(square.apply(reduced), float) - np.asarray(square.apply(whole), float))
    assert difference.mean() < 1
    assert square.apply(reduced).size == (112, 112)


def test_a_padded_panorama_is_reduced_by_its_longer_side():
    content = encoded(picture(1, (24, 24)).resize((3000, 400)), "JPEG")
    assert load_image(content, ImageFit(112, "pad").least_size).image.size == (375, 50)
    assert load_image(content, ImageFit(112, "squash").least_size).image.size == (3000, 400)
