"""Labels in files of their own: CIFAR-N's, arrays and tables; of other data, broken or hostile, they are refused."""

import numpy as np
import pandas as pd
import pytest
import torch

from gwaudit.core.errors import DataError
from gwaudit.data.label_files import read_label_file
from gwaudit.data.loading import load_dataset
from helpers.making import Malicious, make_cifar_n

TRUTH = load_dataset("digits").labels
NOISY = np.where(np.arange(len(TRUTH)) % 5 == 0, (TRUTH + 1) % 10, TRUTH)


def test_cifar_n_gives_labels_and_truth(tmp_path):
    file = make_cifar_n(tmp_path / "human.pt", TRUTH, worse_label=NOISY, aggre_label=TRUTH)
    dataset = load_dataset("digits", labels=file, label_key="worse_label")
    np.testing.assert_array_equal(dataset.labels, NOISY)
    np.testing.assert_array_equal(dataset.true_labels, TRUTH)


def test_the_real_cifar_n_fits_the_real_cifar_10(shared_data):
    """The shares of wrong labels that CIFAR-N states (Wei et al., ICLR 2022)."""
    file = shared_data / "cifar-n" / "CIFAR-10_human.pt"
    dataset = load_dataset(shared_data / "cifar10", labels=file, label_key="worse_label")
    assert len(dataset) == 50_000
    assert " ".join(dataset.class_names) == "airplane automobile bird cat deer dog frog horse ship truck"
    for key, percent in (("worse_label", 40.21), ("aggre_label", 9.01), ("random_label1", 17.23)):
        given, true, *_ = read_label_file(file, key)
        assert key != "worse_label" or (given == dataset.labels).all()
        assert (true == dataset.true_labels).all()
        assert 100 * (given != true).mean() == pytest.approx(percent, abs=0.006)


@pytest.mark.parametrize("suffix", ["npy", "csv"])
def test_arrays_and_tables(tmp_path, suffix):
    file = tmp_path / f"labels.{suffix}"
    if suffix == "npy":
        np.save(file, NOISY)
    else:
        file.write_text("label,other\n" + "".join(f"{label},0\n" for label in NOISY))
    dataset = load_dataset("digits", labels=file)
    np.testing.assert_array_equal(dataset.labels, NOISY)
    assert dataset.true_labels is None


@pytest.mark.parametrize(("labels", "message"), [
    (NOISY[:-1], "1796 labels for the 1797 samples"),
    (NOISY.reshape(1, -1), "one integer for each row"),
    (np.where(np.arange(1797) == 7, np.nan, NOISY), "row 7 is NaN or infinite"),
    (np.where(np.arange(1797) == 7, np.inf, NOISY), "row 7 is NaN or infinite"),
    (np.where(np.arange(1797) == 7, 0.5, NOISY), "row 7 is not a whole number"),
    (np.where(np.arange(1797) == 7, 10, NOISY), "row 7: label '10' is none of the 10 classes"),
    (np.where(np.arange(1797) == 7, -1, NOISY), "row 7: label '-1' is none of the 10 classes"),
    (np.array(["a"] * 1797), "row 0: label 'a' is none of the 10 classes"),
    (np.where(np.arange(1797) == 7, 2**63, NOISY.astype(np.uint64)), "row 7 is 9223372036854775808, too large"),
    (np.where(np.arange(1797) == 7, 1e300, NOISY), r"row 7 is 1e\+300, too large"),
    (np.zeros(1797, int), "one class"),
])  # fmt: skip
def test_labels_that_do_not_fit_are_refused_with_their_row(tmp_path, labels, message):
    np.save(tmp_path / "labels.npy", labels)
    with pytest.raises(DataError, match=message):
        load_dataset("digits", labels=tmp_path / "labels.npy")


def test_another_order_is_found_by_the_clean_labels(tmp_path):
    order = np.random.default_rng(0).permutation(len(TRUTH))
    file = make_cifar_n(tmp_path / "human.pt", TRUTH[order], worse_label=NOISY[order])
    with pytest.raises(DataError, match="of other data or in another order: its clean label of row"):
        load_dataset("digits", labels=file, label_key="worse_label")


def test_the_key_must_be_there_and_the_choices_are_named(tmp_path):
    file = make_cifar_n(tmp_path / "human.pt", TRUTH, worse_label=NOISY, aggre_label=NOISY)
    with pytest.raises(DataError, match="no 'wurst': it has clean_label, worse_label, aggre_label"):
        load_dataset("digits", labels=file, label_key="wurst")
    with pytest.raises(DataError, match="choose one by its key"):
        load_dataset("digits", labels=file)
    with pytest.raises(DataError, match=r"`label_key`.* needs a file with this key"):
        load_dataset("digits", label_key="worse_label")


@pytest.mark.parametrize("protocol", ["archive", "legacy", "npy"])
def test_a_malicious_pickle_is_not_executed(tmp_path, protocol):
    file = tmp_path / ("labels.npy" if protocol == "npy" else "labels.pt")
    content = {"clean_label": TRUTH, "worse_label": Malicious(tmp_path / "pwned")}
    if protocol == "npy":
        np.save(file, np.array([Malicious(tmp_path / "pwned")], object), allow_pickle=True)
    else:
        torch.save(content, file, _use_new_zipfile_serialization=protocol == "archive")
    with pytest.raises(DataError, match=r"labels\.(pt|npy)"):
        load_dataset("digits", labels=file, label_key="worse_label" if protocol != "npy" else None)
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("name", ["labels.pt", "labels.npy", "labels.csv"])
def test_rubbish_missing_and_unknown_files(tmp_path, name):
    with pytest.raises(DataError, match="no label file at"):
        load_dataset("digits", labels=tmp_path / name)
    (tmp_path / name).write_bytes(b"\x80\x02rubbish\xff\n")
    with pytest.raises(DataError, match=name):
        load_dataset("digits", labels=tmp_path / name)
    (tmp_path / "labels.xlsx").write_bytes(b"")
    with pytest.raises(DataError, match=r"label files are \.pt"):
        load_dataset("digits", labels=tmp_path / "labels.xlsx")


def four_samples(folder, labels=("cat", "dog", "cat", "dog")):
    np.savez(folder / "x.npz", x=np.eye(4), y=np.array(labels), keys=np.array(["007", "1-2", "c", "d"]))
    return folder / "x.npz"


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_row_for_row_a_table_has_names_or_indices(tmp_path, separator):
    file = tmp_path / "labels.csv"
    for cells in (["dog", "cat", "cat", "dog"], ["1", "0", "0", "1"]):
        file.write_text(
            "\n".join(separator.join(["label", "other"] if row < 0 else [cells[row], "x"]) for row in range(-1, 4))
        )
        assert load_dataset(four_samples(tmp_path), labels=file).labels.tolist() == [1, 0, 0, 1]
    np.save(tmp_path / "labels.npy", np.array([b"dog", b"cat", b"cat", b"dog"]))
    assert load_dataset(four_samples(tmp_path), labels=tmp_path / "labels.npy").labels.tolist() == [1, 0, 0, 1]
    np.save(tmp_path / "x.npy", np.eye(4))
    file.write_text("label\nNA\n007\n7\nNA\n")
    dataset = load_dataset(tmp_path / "x.npy", labels=file)
    assert [dataset.class_names[label] for label in dataset.labels] == ["NA", "007", "7", "NA"]
    assert any("'NA' is read as the name of a class" in warning for warning in dataset.notes.warnings)
    np.save(tmp_path / "labels.npy", np.array([3, 10**15, 3, -1]))
    assert load_dataset(tmp_path / "x.npy", labels=tmp_path / "labels.npy").class_names == ("-1", "3", str(10**15))


@pytest.mark.parametrize(("text", "message"), [
    ("label\ncat\ncta\ncat\ndog\n", r"row 3: label 'cta' is none of the 2 classes \(did you mean 'cat'\?\)"),
    ("label\ncat\n\ncat\ndog\n", "row 3: has no label; only a table with a column key may leave samples out"),
    ("label\ncat\ndog\n", "2 labels for the 4 samples"),
    ("lable\ncat\ndog\ncat\ndog\n", "its first row names none of the columns key, label: name its column of labels"),
    ("key,label\n7,cat\n", r"no sample with the key '7' \(a spreadsheet program may have changed '007'"),
    ("key,label\nzebra,cat\n", "row 2: the data have no sample with the key 'zebra': keys are such as '007'"),
    ("key,label\n02. Jan,cat\n", r"no sample with the key '02. Jan' \(a spreadsheet program may have changed '1-2'"),
])  # fmt: skip
def test_tables_that_do_not_fit_are_refused_with_their_row(tmp_path, text, message):
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        load_dataset(four_samples(tmp_path), labels=tmp_path / "labels.csv")


def test_codes_that_a_spreadsheet_changed_are_refused(tmp_path):
    source = four_samples(tmp_path, labels=("007", "1.10", "007", "1.10"))
    for label, name in (("7", "007"), ("1.1", "1.10")):
        (tmp_path / "labels.csv").write_text(f"key,label\n007,{label}\nc,1.10\n")
        with pytest.raises(DataError, match=rf"label '{label}' is none of .* may have changed '{name}'"):
            load_dataset(source, labels=tmp_path / "labels.csv")
    source = four_samples(tmp_path, labels=("007", "7", "007", "7"))
    (tmp_path / "labels.csv").write_text('"key","label"\n"007","7"\n"c","7"\n"d","7"\n"1-2",\n')
    with pytest.raises(DataError, match="one class"):
        load_dataset(source, labels=tmp_path / "labels.csv")
    source = four_samples(tmp_path, labels=("007", "7", "007", "cat"))
    (tmp_path / "labels.csv").write_text("key,label\n007,7\nc,7\nd,cat\n")
    with pytest.raises(DataError, match=r"has labels '7', and none of a class .* may have changed '007'"):
        load_dataset(source, labels=tmp_path / "labels.csv")


@pytest.mark.parametrize(("quoted", "refused"), [(False, True), ("texts", True), (True, False)])
def test_a_class_that_became_another_throughout_is_refused_unless_the_labels_are_in_quotes(tmp_path, quoted, refused):
    source = four_samples(tmp_path, labels=("1.1", "1.10", "1.1", "cat"))
    quote = '"' if quoted else ""
    cell = '"1.1"' if quoted is True else "1.1"  # a program that quotes texts writes numbers without quotes
    rows = [
        f"{quote}{key}{quote},{label}\n" for key, label in (("007", cell), ("c", cell), ("d", f"{quote}cat{quote}"))
    ]
    (tmp_path / "labels.csv").write_text(f"{quote}key{quote},{quote}label{quote}\n" + "".join(rows))
    if refused:
        with pytest.raises(DataError, match=r"has labels '1\.1', and none of a class .* may have changed '1\.10'"):
            load_dataset(source, labels=tmp_path / "labels.csv")
    else:
        assert len(load_dataset(source, labels=tmp_path / "labels.csv")) == 3


def test_keys_under_another_name_and_in_another_order_are_refused(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.arange(12.0).reshape(6, 2), y=[0, 1] * 3, keys=list("abcdef"))
    frame = pd.DataFrame({"filename": list("abcdef"), "label": [0, 0, 1, 1, 1, 0]})
    frame.to_csv(tmp_path / "same.csv", index=False)
    assert load_dataset(tmp_path / "x.npz", labels=tmp_path / "same.csv").labels.tolist() == [0, 0, 1, 1, 1, 0]
    frame[::-1].to_csv(tmp_path / "other.csv", index=False)
    with pytest.raises(
        DataError, match=r"the column 'filename' holds keys of the samples in another order.*name it 'key'"
    ):
        load_dataset(tmp_path / "x.npz", labels=tmp_path / "other.csv")


@pytest.mark.parametrize("column", ["sample_id", "ID", "", "image_id"])
def test_numbers_of_rows_in_another_order_are_refused(tmp_path, column):
    np.savez(tmp_path / "x.npz", x=np.arange(12.0).reshape(6, 2), y=[0, 1] * 3, keys=list("abcdef"))
    frame = pd.DataFrame({column: range(6), "rank": [3, 1, 2, 6, 4, 5], "label": [0, 0, 1, 1, 1, 0]})
    frame.to_csv(tmp_path / "same.csv", index=False)
    assert load_dataset(tmp_path / "x.npz", labels=tmp_path / "same.csv").labels.tolist() == [0, 0, 1, 1, 1, 0]
    frame.sample(frac=1, random_state=0).to_csv(tmp_path / "other.csv", index=False)
    with pytest.raises(
        DataError, match=f"the column '{column.lower()}' numbers the rows in another order.*such as 'a'"
    ):
        load_dataset(tmp_path / "x.npz", labels=tmp_path / "other.csv")


def test_names_of_files_in_another_order_than_the_keys_are_refused(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.arange(12.0).reshape(6, 2), y=[0, 1] * 3, keys=[f"d/{k}.png" for k in "abcdef"])
    rows = "".join(f"{k}.png,{i % 2}\n" for i, k in enumerate("badcfe"))
    (tmp_path / "other.csv").write_text("file,label\n" + rows)
    with pytest.raises(DataError, match=r"the column 'file' holds keys .* in another order.*such as 'd/a.png'"):
        load_dataset(tmp_path / "x.npz", labels=tmp_path / "other.csv")


IRIS = ("setosa", "versicolor", "virginica")


def iris(tmp_path, labels, name="labels.npy"):
    from sklearn.datasets import load_iris

    frame = load_iris(as_frame=True).frame
    frame["label"] = [IRIS[label] for label in frame.pop("target")]
    frame.to_csv(tmp_path / "iris.csv", index=False)
    np.save(tmp_path / name, labels(frame["label"].map(IRIS.index).to_numpy()))
    return load_dataset(tmp_path / "iris.csv", labels=tmp_path / name)


def test_the_classes_that_numbers_stand_for_are_said(tmp_path):
    dataset = iris(tmp_path, lambda label: label)
    remark = "the numbers in labels.npy stand for the classes in the order of the source: 0 is 'setosa', 1 is"
    assert any(remark in said for said in dataset.notes.remarks)
    assert not any("order of its rows" in said for said in dataset.notes.warnings)


@pytest.mark.parametrize("change", [lambda label: (label + 1) % 3, lambda label: label[::-1]], ids=["classes", "rows"])
def test_labels_of_which_most_are_not_the_sources_are_warned_of(tmp_path, change):
    dataset = iris(tmp_path, change)
    assert any("check the order of its rows, and of the classes" in said for said in dataset.notes.warnings)


def test_one_hot_rows_are_one_class_a_sample(tmp_path):
    dataset = iris(tmp_path, lambda label: np.eye(3, dtype=int)[label])
    assert not dataset.is_multi_label
    assert [IRIS[label] for label in dataset.labels] == [IRIS[0]] * 50 + [IRIS[1]] * 50 + [IRIS[2]] * 50
    assert any("one-hot" in said for said in dataset.notes.remarks)


def test_truth_values_for_three_classes_are_refused(tmp_path):
    with pytest.raises(DataError, match="holds false and true, and the source has 3 classes"):
        iris(tmp_path, lambda label: label > 0)


@pytest.mark.parametrize("header", ["key,label", "label"])
def test_cells_without_a_column_are_not_lost(tmp_path, header):
    file = tmp_path / "labels.csv"
    row = "a,cat" if header.startswith("key") else "cat"
    file.write_text(f"{header}\n{row},dog\n")
    with pytest.raises(DataError, match=r"row 2: has \d cells, the header has \d"):
        read_label_file(file, None, ("cat", "dog"), ["a"])
