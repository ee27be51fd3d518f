"""Any data set that is read by index can give its samples their ids."""

from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

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
