"""Any data set that is read by index can give its samples their ids."""

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, RandomSampler, TensorDataset

from gwaudit.core.errors import DataError
from gwaudit.data.sample_ids import WithSampleIds


def test_tuples_and_lists_get_the_id_as_their_last_element_and_mappings_under_its_name() -> None:
    assert WithSampleIds([("a", 0), ("b", 1)])[1] == ("b", 1, 1)
    assert WithSampleIds([["a", 0], ["b", 1]])[1] == ("b", 1, 1)
    assert WithSampleIds([{"text": "a"}, {"text": "b"}])[1] == {"text": "b", "sample_id": 1}


@pytest.mark.parametrize("workers", [0, 2])
def test_every_id_arrives_once_and_with_its_own_sample_after_shuffling_and_workers(workers: int) -> None:
    data = WithSampleIds(TensorDataset(torch.arange(50) * 7))
    loader = DataLoader(data, batch_size=8, shuffle=True, num_workers=workers)
    values, ids = (torch.cat(parts) for parts in zip(*loader, strict=True))
    assert torch.equal(values, ids * 7)
    assert sorted(ids.tolist()) == list(range(50))


def test_a_data_set_that_reads_a_batch_at_once_is_asked_for_it_at_once() -> None:
    class Batched(list[Any]):
        def __getitems__(self, indices: list[int]) -> list[Any]:
            asked.append(indices)
            return [self[index] for index in indices]

    asked: list[list[int]] = []
    data = WithSampleIds(Batched([("a", 0), ("b", 1), ("c", 2)]))
    assert [sample[-1] for sample in data.__getitems__([2, 0])] == [2, 0]
    assert asked == [[2, 0]]


def test_a_transform_that_is_set_reaches_the_data_set_within() -> None:
    class Images:
        transform: Any = None

        def __len__(self) -> int:
            return 1

        def __getitem__(self, index: int) -> Any:
            return self.transform(index), 0

    data = WithSampleIds(Images())
    data.transform = lambda index: f"image {index}"
    assert data[0] == ("image 0", 0, 0)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_batch_sampler_that_indexes_by_batch_gets_the_ids_of_the_batch(workers: int) -> None:
    tensors = WithSampleIds(TensorDataset(torch.arange(10) * 7))
    sampler = BatchSampler(RandomSampler(range(10)), 4, drop_last=False)
    loader = DataLoader(tensors, sampler=sampler, batch_size=None, num_workers=workers)
    values, ids = (torch.cat(parts) for parts in zip(*loader, strict=True))
    assert torch.equal(values, ids * 7)
    assert sorted(ids.tolist()) == list(range(10))


def test_any_index_of_several_samples_gives_their_ids() -> None:
    tensors = WithSampleIds(TensorDataset(torch.arange(10) * 7))
    mask = torch.arange(10) > 7
    for index in ([9, 8], np.array([9, 8]), torch.tensor([-1, -2]), slice(8, 10), mask):
        values, ids = tensors[index]
        assert torch.equal(values, ids * 7)
        assert sorted(ids.tolist()) == [8, 9]
    assert tensors[-1] == (torch.tensor(63), 9)
    assert tensors[np.int64(2)][1] == tensors[torch.tensor(2)][1] == 2
    datasets = pytest.importorskip("datasets", reason="the extra hf is not installed")
    table = WithSampleIds(datasets.Dataset.from_dict({"text": ["a", "b", "c"], "label": [0, 1, 0]}))
    assert table[[2, 0]]["text"] == ["c", "a"]
    assert table[[2, 0]]["sample_id"].tolist() == [2, 0]
    assert list(table["label"]) == [0, 1, 0]


def test_attributes_are_those_of_the_data_set_also_in_copies_and_workers() -> None:
    class Images(list[Any]):
        classes, targets = ("cat", "dog"), (0, 1)

    data = WithSampleIds(Images([("a", 0), ("b", 1)]))
    for one in (data, copy.deepcopy(data), copy.copy(data)):
        assert (one.classes, one.targets) == (("cat", "dog"), (0, 1))
        assert not hasattr(one, "class_to_idx")
    assert pickle.loads(pickle.dumps(WithSampleIds([("a", 0)])))[0] == ("a", 0, 0)
    with pytest.raises(AttributeError, match="class_to_idx"):
        _ = data.class_to_idx


class Stream(IterableDataset[Any]):
    def __len__(self) -> int:
        return 3

    def __iter__(self) -> Any:
        return iter([(1, 2)] * 3)


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (Stream(), "Stream is a stream.*each sample's index"),
        (iter([(1, 2)]), "is a stream"),
        ([torch.zeros(3)], "sample 0 is a Tensor, expected a tuple or a mapping"),
        ([{"sample_id": "x"}], "sample 0 already has a 'sample_id'.*rename"),
    ],
)
def test_what_has_no_place_for_an_id_is_refused(dataset: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        WithSampleIds(dataset)[0]
