"""Write cleaned images as one folder per class, as torchvision's `ImageFolder` reads them.

Where the source has more columns than images and labels, a `metadata.parquet` beside the folders keeps them, as the
`imagefolder` of Hugging Face's `datasets` reads it.
"""

from pathlib import Path

import pyarrow as pa

from gwaudit.core.parquet import write_parquet
from gwaudit.core.safe_names import distinct_names, folder_name
from gwaudit.export.cleaned_data import CleanedData
from gwaudit.export.original_data import OriginalData
from gwaudit.export.source_columns import SourceColumns


def write(cleaned: CleanedData, folder: Path, original: OriginalData) -> None:
    """Write the images into an empty folder: files as links or copies, with the bytes of the source.

    Raises:
        DataError: the data are not those that were audited, or an image can no longer be read.
    """
    dataset = original.require(cleaned.fingerprint)
    class_folders = distinct_names(cleaned.class_names, folder_name, alike=str.casefold)
    for name in class_folders:
        (folder / name).mkdir()
    files: list[str] = []
    for sample_id, label in zip(cleaned.ids.tolist(), cleaned.labels.tolist(), strict=True):
        image = original.original_file(dataset, sample_id)
        # The id in front keeps files of the same name from different folders apart.
        name = f"_{image.source.name}" if isinstance(image.source, Path) else image.suffix
        files.append(f"{class_folders[label]}/{sample_id:07d}{name}")
        image.save(folder / files[-1], copy=original.copy)
    if original.columns is not None:
        _write_metadata(cleaned, folder / "metadata.parquet", files, original.columns)


def _write_metadata(cleaned: CleanedData, target: Path, files: list[str], source: SourceColumns) -> None:
    """Write the columns of the source beside the names of the files, unless it has images and labels only."""
    label = source.labels[0] if source.labels else "label"
    others = [name for name in source.table.column_names if name not in {label, source.images, "file_name"}]
    if not others:
        return
    columns = {"file_name": pa.array(files), label: pa.array([cleaned.class_names[i] for i in cleaned.labels])}
    kept = source.table.select(others).take(pa.array(cleaned.ids))
    columns |= {name: kept[name] for name in others}
    write_parquet(pa.table(columns), target)
