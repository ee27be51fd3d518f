"""Write cleaned images as one folder per class, as torchvision's `ImageFolder` reads them."""

from pathlib import Path

from gwaudit.core.safe_names import distinct_names, folder_name
from gwaudit.export.cleaned_data import CleanedData
from gwaudit.export.original_data import OriginalData


def write(cleaned: CleanedData, folder: Path, original: OriginalData) -> None:
    """Write the images into an empty folder: files as links or copies, images in memory as PNG files.

    Raises:
        DataError: the data are not those that were audited, or an image can no longer be read.
    """
    dataset = original.require(cleaned.fingerprint)
    class_folders = distinct_names(cleaned.class_names, folder_name, alike=str.casefold)
    for name in class_folders:
        (folder / name).mkdir()
    for sample_id, label in zip(cleaned.ids.tolist(), cleaned.labels.tolist(), strict=True):
        image = original.image_file(dataset, sample_id)
        # The id in front keeps files of the same name from different folders apart.
        name = f"_{image.source.name}" if isinstance(image.source, Path) else image.suffix
        image.save(folder / class_folders[label] / f"{sample_id:07d}{name}", copy=original.copy)
