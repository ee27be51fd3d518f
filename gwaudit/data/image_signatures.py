"""Find the format of an image file by its suffix or by its first bytes."""

import base64
import binascii
from collections.abc import Container

HEIF_KIND = "HEIF"

IMAGE_SUFFIXES = frozenset({
    ".avif", ".bmp", ".gif", ".heic", ".heif", ".hif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".jpx", ".jxl",
    ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp",
})  # fmt: skip
"""Suffixes of image files, in lower case."""

_SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
)
_BRANDS = {b"avif": "AVIF", b"avis": "AVIF"} | dict.fromkeys(
    (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"), HEIF_KIND
)
_REMEDIES = {
    HEIF_KIND: "a HEIF image (HEIC), which Pillow decodes with a plugin: pip install pillow-heif",
    "AVIF": "an AVIF image, which Pillow decodes from version 11.3 on: pip install -U pillow",
    "JPEG XL": "a JPEG XL image, which is not supported: convert it to PNG",
}
_OTHER_CONTENT = (
    (b"version https://git-lfs", "a Git LFS pointer, not the image: fetch the files with `git lfs pull`"),
    (b"<!doctype html", "a web page, not an image: download it again"),
    (b"<html", "a web page, not an image: download it again"),
    (b"<?xml", "XML (SVG?), not an image of pixels: convert it to PNG"),
    (b"<svg", "an SVG drawing, not an image of pixels: convert it to PNG"),
    (b"%pdf", "a PDF document, not an image: convert its pages to PNG"),
)


def image_kind(start: bytes) -> str | None:
    """Return the format of an image file by its first 16 bytes or more, or None where it is of no known format."""
    for signature, kind in _SIGNATURES:
        if start.startswith(signature):
            return kind
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "WebP"
    if start[4:8] == b"ftyp":
        return _BRANDS.get(start[8:12])
    if start[:2] == b"BM" and start[6:10] == b"\0\0\0\0":
        return "BMP"
    if start[:1] == b"P" and start[1:2] in b"123456" and start[2:3] in b" \n\r\t#" and len(start) > 2:
        return "Netpbm"
    return None


def image_of_base64(text: str) -> bytes | None:
    """Return the content of an image file in base64, also in a data URI, or None where the text is none."""
    encoded = text.partition("base64,")[2] if text.startswith("data:image/") else text
    try:
        start = base64.b64decode(encoded[:64], validate=True)
    except (ValueError, binascii.Error):
        return None
    return base64.b64decode(encoded + "==") if image_kind(start) else None


def reason_unidentified(start: bytes, length: int, decoders: Container[str]) -> tuple[str | None, str]:
    """Return the format of a file that Pillow cannot identify, where its first bytes say it, and the reason.

    Args:
        start: First bytes of the file.
        length: Length of the whole file in bytes.
        decoders: Names of the formats that can be decoded, in capitals.
    """
    if not length:
        return None, "the file is empty"
    kind = image_kind(start)
    if kind is not None:
        if kind in _REMEDIES and kind not in decoders:
            return kind, _REMEDIES[kind]
        return kind, f"a {kind} image that is damaged, or of a kind that Pillow does not decode: convert it to PNG"
    lower = start.lstrip(b"\xef\xbb\xbf \r\n\t").lower()
    for beginning, reason in _OTHER_CONTENT:
        if lower.startswith(beginning):
            return None, reason
    return None, "not an image of a known format"
