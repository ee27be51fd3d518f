"""NumPy files of any origin are read within the memory that they can fill, or refused."""

import io
import zipfile

import numpy as np
import pytest
import torch

from gwaudit.core.errors import DataError
from gwaudit.data.array_files import read_array, read_arrays
from gwaudit.data.label_files import read_label_file
from gwaudit.data.loading import load_dataset


def header_of(shape):
    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(content, {"descr": "<f8", "fortran_order": False, "shape": shape})
    return content.getvalue()


def test_arrays_are_read_as_numpy_wrote_them(tmp_path):
    arrays = {"x": np.random.rand(5, 3), "y": np.array(["cat", "猫", "", "a", "b"]), "z": np.empty((0, 4), np.int8)}
    for save, name in ((np.savez, "a.npz"), (np.savez_compressed, "b.npz")):
        save(tmp_path / name, **arrays)
        found = read_arrays(tmp_path / name)
        assert all(np.array_equal(found[key], values) for key, values in arrays.items())
    np.save(tmp_path / "c.npy", np.asfortranarray(arrays["x"]))
    assert np.array_equal(read_array(tmp_path / "c.npy"), arrays["x"])


def test_a_file_that_claims_more_than_it_holds_takes_no_memory(tmp_path):
    (tmp_path / "a.npy").write_bytes(header_of((10**10, 2)) + bytes(1000))
    with pytest.raises(DataError, match="more than the file holds"):
        read_array(tmp_path / "a.npy")
    with zipfile.ZipFile(tmp_path / "b.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", header_of((10**10, 2)) + bytes(10**6))
    with pytest.raises(DataError, match="more than the file holds"):
        load_dataset(tmp_path / "b.npz")


def test_objects_and_damaged_files_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{}, None], object), allow_pickle=True)
    np.savez(tmp_path / "c.npz", x=np.zeros(3), y=np.array(["one", "two", "one"], object))
    for read, name in ((read_array, "a.npy"), (read_arrays, "c.npz")):
        with pytest.raises(DataError, match=r"holds Python objects.*`\.astype\(str\)`"):
            read(tmp_path / name)
    (tmp_path / "b.npz").write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(DataError, match="NumPy file"):
        read_arrays(tmp_path / "b.npz")


@pytest.mark.parametrize("wrong", [{"x": np.array(3.0)}, {"y": np.array(1)}, {"keys": np.array("abc")},
                                   {"class_names": np.array("ab")}])  # fmt: skip
def test_an_array_that_is_a_single_value_is_refused(tmp_path, wrong):
    arrays = {"x": np.random.rand(6, 2), "y": np.array([0, 1] * 3), **wrong}
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match=r"expected|must be a list"):
        load_dataset(tmp_path / "a.npz")


def test_tensors_that_require_a_gradient_are_labels(tmp_path):
    torch.save({"y": torch.tensor([0.0, 1.0, 1.0], requires_grad=True)}, tmp_path / "labels.pt")
    assert read_label_file(tmp_path / "labels.pt", "y", ("a", "b")).given.tolist() == [0, 1, 1]
    rows = [(torch.rand(4), torch.tensor([0.0, 1.0, 1.0], requires_grad=True).roll(i)) for i in range(6)]

    class Rows(torch.utils.data.Dataset):
        def __len__(self):
            return len(rows)

        def __getitem__(self, index):
            return rows[index]

    assert load_dataset(Rows()).labels.shape == (6, 3)


@pytest.mark.parametrize("order", ["<", ">"])
def test_text_with_characters_that_do_not_exist_is_refused(tmp_path, order):
    texts = np.array(["cat", "dog", "\U0010ffff"]).astype(f"{order}U3")
    np.save(tmp_path / "a.npy", texts)
    assert np.array_equal(read_array(tmp_path / "a.npy"), texts)
    codes = texts.view(f"{order}u4").copy()
    codes[1] = 0x110000
    np.save(tmp_path / "a.npy", codes.view(f"{order}U3"))
    with pytest.raises(DataError, match=r"a\.npy cannot be read .*characters that do not exist"):
        read_array(tmp_path / "a.npy")
