"""One table reads the same from every format, separator and encoding, or is refused with the way on."""

import gzip
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pytest

from gwaudit import load_dataset
from gwaudit.core.errors import DataError
from gwaudit.data.feature_scaling import scale_numbers

FRAME = pd.DataFrame({"width": [0.5, 2.5, 1.5, 3.5], "label": ["caf\u00e9", "007", "7", "caf\u00e9"]})
CSV = FRAME.to_csv(index=False)


def semicolons(path):
    path.write_text(CSV.replace(",", ";"))


def excel_with_decimal_comma(path):
    path.write_text("sep=;\n" + CSV.replace(",", ";").replace(".", ","))


def tabs(path):
    path.write_text(CSV.replace(",", "\t"))


def spaces_after_commas(path):
    path.write_text(CSV.replace(",", ", "))


def trailing_commas_in_rows(path):
    header, *rows = CSV.splitlines()
    path.write_text("\n".join([header, *(f"{row}," for row in rows)]))


def trailing_commas_everywhere(path):
    path.write_text("\n".join(f"{row}," for row in CSV.splitlines()))


def row_names_as_r_writes_them(path):
    header, *rows = CSV.splitlines()
    path.write_text("\n".join([header, *(f"r{i},{row}" for i, row in enumerate(rows))]))


def utf_8_with_mark(path):
    path.write_text(CSV, encoding="utf-8-sig")


def utf_16(path):
    path.write_text(CSV, encoding="utf-16")


def latin_1(path):
    path.write_text(CSV, encoding="latin-1")


def compressed(path):
    path.write_bytes(gzip.compress(CSV.encode(), mtime=0))


def json_rows(path):
    FRAME.to_json(path, orient="records")


def json_columns(path):
    FRAME.to_json(path)


def json_split(path):
    FRAME.to_json(path, orient="split")


def json_table(path):
    FRAME.to_json(path, orient="table", index=False)


def json_lines(path):
    FRAME.to_json(path, orient="records", lines=True)


def compressed_lines(path):
    FRAME.to_json(path, orient="records", lines=True, compression="gzip")


def feather(path):
    pa.feather.write_feather(pa.Table.from_pandas(FRAME, preserve_index=False), path)


@pytest.mark.parametrize(("name", "write"), [
    ("DATA.CSV", semicolons), ("t.csv", excel_with_decimal_comma), ("t.csv", tabs), ("t.tsv", tabs),
    ("t.csv", spaces_after_commas), ("t.csv", trailing_commas_in_rows), ("t.csv", trailing_commas_everywhere),
    ("t.csv", row_names_as_r_writes_them), ("t.csv", utf_8_with_mark), ("t.csv", utf_16), ("t.csv", latin_1),
    ("t.csv.gz", compressed), ("t.json", json_rows), ("t.json", json_columns), ("t.json", json_split),
    ("t.json", json_table), ("t.json", json_lines), ("t.jsonl", json_lines), ("t.JSONL.GZ", compressed_lines),
    ("t.feather", feather), ("T.Parquet", FRAME.to_parquet), ("t.pq", FRAME.to_parquet),
])  # fmt: skip
def test_a_table_reads_the_same_from_every_format(tmp_path, name, write):
    write(tmp_path / name)
    dataset = load_dataset(tmp_path / name)
    assert [dataset.class_names[label] for label in dataset.labels] == FRAME["label"].tolist()
    np.testing.assert_allclose(dataset.inputs.values[:, 0], scale_numbers(FRAME["width"].to_numpy()).values, rtol=1e-6)
    assert dataset.notes.columns_used["features"] == ["width"]


@pytest.mark.parametrize(("name", "content", "message"), [
    ("t.xlsx", b"PK\x03\x04", r"it is a spreadsheet: save the sheet as CSV \(UTF-8\)"),
    ("t.csv.zip", b"PK\x03\x04", "it is an archive: unpack it"),
    ("t.pkl", b"\x80", "write it as Parquet or CSV"),
    ("t.csv", b"PK\x03\x04\x00\x00", "it is an Excel workbook or a zip archive"),
    ("t.csv", gzip.compress(CSV.encode(), mtime=0), "let its name end in .gz"),
    ("t.csv.gz", b"\x1f\x8bcut", "cannot be read as CSV"),
    ("t.csv", CSV.encode("utf-16-le"), "neither UTF-8 nor UTF-16 nor Windows-1252: save it in UTF-8"),
    ("t.csv", "x,label\n1,café\n2,Zürich\n".encode() + b"3,\xff\n", "line 4 holds bytes that are not UTF-8, but other"),
    ("t.csv", b"", "cannot be read as CSV"),
    ("t.csv", b"x,label\n1,a\n2,b,c,d\n", r"cannot be read as CSV \(.*line 3"),
    ("t.csv", b"x,label,label\n1,a,b\n2,b,a\n", "several columns 'label'"),
    ("t.csv", b'x,label\n1,"a\n2,b\n', "cannot be read as CSV"),
    ("t.parquet", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    ("t.json", b'{"a": 1}', "holds no table: expected a list of objects"),
    ("t.json", b"[1, 2", "cannot be read as JSON"),
    ("t.jsonl", b"\n\n", "cannot be read as JSON Lines"),
])  # fmt: skip
def test_files_that_are_no_table_are_refused_with_the_way_on(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        load_dataset(tmp_path / name)


def test_labels_of_several_types_keep_their_classes(tmp_path):
    rows = [{"x": 0.5, "label": "cat"}, {"x": 2.5, "label": ["cat", "dog"]}, {"x": 1.5, "label": []}]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    dataset = load_dataset(tmp_path / "t.jsonl")
    assert (dataset.class_names, dataset.labels.tolist()) == (("cat", "dog"), [[1, 0], [1, 1], [0, 0]])
    (tmp_path / "t.jsonl").write_text('{"x": 0.5, "label": "a"}\n{"x": 1.5, "label": 1.0}\n')
    dataset = load_dataset(tmp_path / "t.jsonl")
    assert dataset.class_names == ("1", "a")
    assert "the column label holds values of several types: they are read as texts" in dataset.notes.remarks


def test_files_of_one_source_may_differ_in_order_and_in_the_width_of_numbers_alone(tmp_path):
    FRAME.to_parquet(tmp_path / "train-00000-of-00002.parquet")
    FRAME[["label", "width"]].astype({"width": "float32"}).to_parquet(tmp_path / "train-00001-of-00002.parquet")
    assert load_dataset(tmp_path).labels.tolist() == [2, 0, 1, 2, 2, 0, 1, 2]
    FRAME.assign(more=1).to_parquet(tmp_path / "train-00001-of-00002.parquet")
    with pytest.raises(DataError, match="different columns: 'more' is not in both"):
        load_dataset(tmp_path)


def test_rows_of_json_may_lie_beside_facts_about_the_data(tmp_path):
    rows = [{"a": 1.5, "label": "x"}, {"a": 2, "label": "y"}]
    (tmp_path / "t.json").write_text(json.dumps({"version": 1, "data": rows}))
    assert load_dataset(tmp_path / "t.json").inputs.values.sign().tolist() == [[-1.0], [1.0]]


def test_views_of_texts_are_texts(tmp_path):
    texts = pa.array(["good", "bad", "fine"], pa.string_view())
    table = pa.table({"text": texts, "label": pa.array(["x", "y", "x"], pa.string_view())})
    with pa.ipc.new_file(tmp_path / "t.arrow", table.schema) as file:
        file.write_table(table)
    assert load_dataset(tmp_path / "t.arrow").texts == ["good", "bad", "fine"]


def test_a_table_of_one_column_names_the_separators(tmp_path):
    (tmp_path / "t.csv").write_text("a label\n1 x\n2 y\n")
    with pytest.raises(DataError, match="cells of CSV are separated by commas, semicolons, tabs or bars"):
        load_dataset(tmp_path / "t.csv")
