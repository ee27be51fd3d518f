"""Describe how the reading of a source reports its progress."""

from typing import Protocol


class ReadingProgress(Protocol):
    """Receive the progress of decoding images."""

    def on_images(self, done: int, images: int) -> None:
        """Receive the number of images decoded and the number of all images, a few times per second."""
