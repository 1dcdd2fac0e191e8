"""Data sets: samples, batches at once, subsets, joins, splits, and random changes that repeat."""

import numpy as np
import pytest

import backlit as bl
from backlit.datasets.augment import Flip, Noise
from backlit.errors import OperationError
from backlit.utils.data import (
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    Subset,
    TensorDataset,
    TransformedDataset,
    default_collate,
    default_convert,
    random_split,
)


class Squares(Dataset):
    """Samples that only exist one by one."""

    def __init__(self, count=10):
        self.count = count

    def __getitem__(self, i):
        if not 0 <= i < self.count:
            raise IndexError(i)
        return np.float32(i) ** 2, {"label": i, "name": f"n{i}"}

    def __len__(self):
        return self.count


def pairs(count=10):
    return TensorDataset(np.arange(2 * count, dtype=np.float32).reshape(count, 2), np.arange(count))


def test_a_batch_taken_at_once_is_the_collated_samples():
    data = pairs()
    batch = data.take(np.array([3, 1, 1]))
    for whole, part in zip(batch, default_collate([data[3], data[1], data[1]]), strict=True):
        assert whole.dtype == part.dtype and whole.tolist() == part.tolist()


def test_a_batch_is_a_copy():
    data = pairs()
    x, _ = data.take(np.arange(10))
    x._data[:] = -1
    assert data[0][0].tolist() == [0.0, 1.0]


def test_a_subclass_that_changes_samples_is_asked_for_each():
    class Doubled(TensorDataset):
        def __getitem__(self, i):
            x, y = super().__getitem__(i)
            return x * 2, y

    x, y = next(iter(DataLoader(Doubled(np.ones((4, 2), np.float32), np.arange(4)), 2)))
    assert x.tolist() == [[2.0, 2.0], [2.0, 2.0]] and y.tolist() == [0, 1]
    subset = Subset(Doubled(np.ones((4, 2), np.float32), np.arange(4)), [2])
    assert next(iter(DataLoader(subset)))[0].tolist() == [[2.0, 2.0]]


def test_gradients_flow_into_a_data_set_that_wants_them():
    x = bl.ones(4, 2, requires_grad=True)
    batch, _ = next(iter(DataLoader(TensorDataset(x, bl.arange(4)), 2)))
    batch.sum().backward()
    assert x.grad.tolist() == [[1.0, 1.0], [1.0, 1.0], [0.0, 0.0], [0.0, 0.0]]


@pytest.mark.parametrize("parts", [(), (np.ones(3), np.ones(4)), (np.ones(3), np.float32(1))])
def test_tensors_of_different_lengths_are_refused(parts):
    with pytest.raises(OperationError, match="TensorDataset"):
        TensorDataset(*parts)


def test_subsets_of_subsets():
    inner = Subset(pairs(), [8, 6, 4, 2])
    outer = Subset(inner, [3, 0])
    assert [int(y) for _, y in (outer[0], outer[1])] == [2, 8]
    assert next(iter(DataLoader(outer, 2)))[1].tolist() == [2, 8]


def test_joined_data_sets():
    joined = pairs(3) + pairs(4)
    assert isinstance(joined, ConcatDataset) and len(joined) == 7
    assert [int(joined[i][1]) for i in (0, 2, 3, 6, -1, -7)] == [0, 2, 0, 3, 3, 0]
    with pytest.raises(IndexError):
        joined[7]
    assert DataLoader(joined, 7).__iter__().__next__()[1].tolist() == [0, 1, 2, 0, 1, 2, 3]


@pytest.mark.parametrize("lengths, sizes", [([7, 3], [7, 3]), ([0.5, 0.25, 0.25], [6, 2, 2]), ([1.0], [10])])
def test_random_split_covers_everything_once(lengths, sizes):
    parts = random_split(pairs(), lengths, generator=bl.Generator().manual_seed(1))
    again = random_split(pairs(), lengths, generator=bl.Generator().manual_seed(1))
    assert [len(part) for part in parts] == sizes
    assert [part.indices for part in parts] == [part.indices for part in again]
    assert sorted(i for part in parts for i in part.indices) == list(range(10))


@pytest.mark.parametrize("lengths", [[5, 4], [0.5, 0.6], [-1, 11], [1.5, -0.5], [2.5, 7.5]])
def test_lengths_that_do_not_add_up_are_refused(lengths):
    with pytest.raises(OperationError, match="random_split"):
        random_split(pairs(), lengths)


def test_collate_structures():
    x, more = default_collate([Squares()[2], Squares()[3]])
    assert x.tolist() == [4.0, 9.0] and x.dtype == bl.float32
    assert more["label"].tolist() == [2, 3] and more["name"] == ["n2", "n3"]
    assert default_collate([1.5, 2.5]).dtype == bl.float64
    assert default_collate([[1, (2, 3)], [4, (5, 6)]])[1][0].tolist() == [2, 5]


@pytest.mark.parametrize(
    "samples", [[np.ones(2), np.ones(3)], [(1, 2), (1,)], [{"a": 1}, {"b": 1}], [object(), object()]]
)
def test_samples_that_do_not_fit_together_are_refused(samples):
    with pytest.raises(OperationError, match="default_collate"):
        default_collate(samples)


def test_convert_leaves_the_structure():
    found = default_convert({"x": np.ones(2), "rest": (np.zeros(1), "text", 3)})
    assert isinstance(found["x"], bl.Tensor) and found["rest"][1:] == ["text", 3]


def images(count=12):
    rng = np.random.default_rng(0)
    return TensorDataset(rng.random((count, 4, 4), dtype=np.float32), np.arange(count))


@pytest.mark.parametrize("wrap", [lambda d: d, lambda d: Subset(d, range(len(d))), lambda d: d + d])
@pytest.mark.parametrize("workers", [0, 3])
def test_random_changes_depend_on_the_pass_and_the_batch_only(wrap, workers):
    def run(workers):
        data = wrap(TransformedDataset(images(), Noise(0.1)))
        loader = DataLoader(data, 5, generator=bl.Generator().manual_seed(3), shuffle=True, num_workers=workers)
        return [[x.tolist() for x, _ in loader] for _ in range(2)]

    first = run(workers)
    assert first == run(0)
    assert first[0] != first[1]


def test_a_collate_function_gets_changed_samples_too():
    def run(workers):
        data = TransformedDataset(images(), Noise(0.1))
        loader = DataLoader(
            data, 5, generator=bl.Generator().manual_seed(3), num_workers=workers, collate_fn=lambda samples: samples
        )
        return [[x.tolist() for x, _ in samples] for samples in loader]

    assert run(0) == run(2)


def test_changes_touch_inputs_only_and_not_the_stored_ones():
    data = images()
    before = data.tensors[0]._data.copy()
    x, y = next(iter(DataLoader(TransformedDataset(data, Flip(p=1.0)), 12)))
    np.testing.assert_array_equal(x._data, before[:, :, ::-1])
    assert y.tolist() == list(range(12))
    np.testing.assert_array_equal(data.tensors[0]._data, before)
    assert TransformedDataset(data, Flip(p=1.0))[2][0].tolist() == before[2, :, ::-1].tolist()


def test_streams():
    class Count(IterableDataset):
        def __iter__(self):
            return iter(range(7))

    assert [b.tolist() for b in DataLoader(Count(), 3)] == [[0, 1, 2], [3, 4, 5], [6]]
    assert [b.tolist() for b in DataLoader(Count(), 3, drop_last=True)] == [[0, 1, 2], [3, 4, 5]]
    assert list(DataLoader(Count(), None)) == list(range(7))
    loader = DataLoader(Count(), 3)
    passing = iter(loader)
    next(passing)
    state = loader.state_dict()
    other = DataLoader(Count(), 3)
    other.load_state_dict(state)
    assert [b.tolist() for b in other] == [[3, 4, 5], [6]]
    with pytest.raises(OperationError, match="own order"):
        DataLoader(Count(), 3, shuffle=True)
