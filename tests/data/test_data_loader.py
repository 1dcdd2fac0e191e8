"""Loaders and samplers: orders that repeat, positions that can be taken up again, options that are checked."""

import threading

import numpy as np
import pytest

import backlit as bl
from backlit.errors import CheckpointError, OperationError, UnsupportedError
from backlit.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

N = 23


def data(count=N):
    return TensorDataset(np.arange(count, dtype=np.float32)[:, None], np.arange(count))


def seeded(seed=0):
    return bl.Generator().manual_seed(seed)


def order(loader):
    return [y.tolist() for _, y in loader]


class Single(Dataset):
    """As data(), without batches at once."""

    def __getitem__(self, i):
        return np.float32([i]), i

    def __len__(self):
        return N


class Backwards(Sampler):
    def __iter__(self):
        return iter(range(N - 1, -1, -1))

    def __len__(self):
        return N


class EvenOdd(Sampler):
    """A batch sampler of the user's own."""

    def __iter__(self):
        yield list(range(0, N, 2))
        yield list(range(1, N, 2))

    def __len__(self):
        return 2


class Wild(Sampler):
    """An order that cannot be repeated."""

    calls = 0

    def __iter__(self):
        Wild.calls += 1
        return iter(np.random.default_rng(Wild.calls).permutation(N).tolist())

    def __len__(self):
        return N


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("size", [1, 4, 23, 40])
def test_every_sample_once_and_the_promised_number_of_batches(size, drop_last):
    loader = DataLoader(data(), size, shuffle=True, drop_last=drop_last, generator=seeded())
    batches = order(loader)
    seen = [i for batch in batches for i in batch]
    assert len(batches) == len(loader)
    assert len(seen) == len(set(seen)) == (N - N % size if drop_last else N)
    assert all(len(batch) == size for batch in batches[:-1])


def test_the_same_seed_gives_the_same_orders_and_each_pass_another():
    first, second = (DataLoader(data(), 4, shuffle=True, generator=seeded(5)) for _ in range(2))
    a, b = order(first), order(first)
    assert a != b and [a, b] == [order(second), order(second)]
    assert a != order(DataLoader(data(), 4, shuffle=True, generator=seeded(6)))


def test_without_a_generator_the_default_one_decides():
    loader = DataLoader(data(), 4, shuffle=True)
    bl.manual_seed(3)
    first = order(loader)
    bl.manual_seed(3)
    assert order(loader) == first


def test_a_loader_in_order_draws_nothing():
    state = bl.get_rng_state().tolist()
    assert order(DataLoader(data(), N)) == [list(range(N))]
    assert bl.get_rng_state().tolist() == state


def test_samples_one_by_one_and_at_once_come_in_the_same_order():
    at_once, single = (DataLoader(d, 4, shuffle=True, generator=seeded()) for d in (data(), Single()))
    for (x, y), (u, v) in zip(at_once, single, strict=True):
        assert x.tolist() == u.tolist() and y.tolist() == v.tolist() and x.dtype == u.dtype and y.dtype == v.dtype


OPTIONS = {
    "shuffled": lambda: {"batch_size": 4, "shuffle": True},
    "in order": lambda: {"batch_size": 4},
    "dropping": lambda: {"batch_size": 4, "shuffle": True, "drop_last": True},
    "replacement": lambda: {"batch_size": 4, "sampler": RandomSampler(data(), True, 30, seeded(2))},
    "weighted": lambda: {"batch_size": 4, "sampler": WeightedRandomSampler(np.arange(N), 30, generator=seeded(2))},
    "own": lambda: {"batch_size": 4, "sampler": Backwards()},
    "own batches": lambda: {"batch_sampler": EvenOdd()},
    "threads": lambda: {"batch_size": 4, "shuffle": True, "num_workers": 2},
    "own, threads": lambda: {"batch_size": 4, "sampler": Backwards(), "num_workers": 3},
    "single": lambda: {"batch_size": None, "shuffle": True},
}


@pytest.mark.parametrize("taken", range(8))
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_a_position_can_be_taken_up_again(options, taken):
    def loader():
        return DataLoader(data(), generator=seeded(9), **options())

    one = loader()
    order(one)
    passing = iter(one)
    for _ in range(taken):
        next(passing, None)
    state = one.state_dict()
    expected = [order(passing), order(one)]
    other = loader()
    other.load_state_dict(state)
    found = [order(other)]
    if taken <= len(one):  # the pass was not known to be over
        found.append(order(other))
    assert found == expected[-len(found) :]


def test_threads_give_what_no_threads_give_and_make_batches_elsewhere():
    threads = set()

    class Watching(Single):
        def __getitem__(self, i):
            threads.add(threading.current_thread().name)
            return super().__getitem__(i)

    made = [order(DataLoader(Watching(), 4, shuffle=True, generator=seeded(), num_workers=n)) for n in (0, 3)]
    assert made[0] == made[1] and any(name.startswith("backlit-loader") for name in threads)


def test_threads_end_when_a_pass_is_left_early():
    passing = iter(DataLoader(Single(), 2, num_workers=2))
    next(passing)
    passing.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("backlit-loader")]


def test_an_error_in_a_thread_is_raised_where_the_batch_is_asked_for():
    class Broken(Single):
        def __getitem__(self, i):
            if i == 9:
                raise ZeroDivisionError("sample 9")
            return super().__getitem__(i)

    passing = iter(DataLoader(Broken(), 4, num_workers=2))
    next(passing), next(passing)
    with pytest.raises(ZeroDivisionError, match="sample 9"):
        next(passing)


def test_an_order_that_does_not_repeat_is_noticed():
    loader = DataLoader(data(), 4, sampler=Wild())
    passing = iter(loader)
    next(passing)
    state = loader.state_dict()
    other = DataLoader(data(), 4, sampler=Wild())
    other.load_state_dict(state)
    with pytest.raises(CheckpointError, match="another order"):
        next(iter(other))


@pytest.mark.parametrize(
    "state", [{}, {"running": True, "seed": 1}, {"running": 1, "seed": "x", "batches": 0, "order": 0}, None]
)
def test_a_foreign_state_is_refused(state):
    with pytest.raises(CheckpointError):
        DataLoader(data()).load_state_dict(state)


def test_a_state_with_other_generators_is_refused():
    state = DataLoader(data(), shuffle=True, generator=seeded()).state_dict()
    with pytest.raises(CheckpointError, match="generators"):
        DataLoader(data(), shuffle=True).load_state_dict(state)


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 0},
        {"batch_size": 2.5},
        {"num_workers": -1},
        {"sampler": [0], "shuffle": True},
        {"batch_sampler": [[0]], "batch_size": 2},
        {"batch_sampler": [[0]], "shuffle": True},
        {"batch_size": None, "drop_last": True},
    ],
)
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(OperationError, match="DataLoader"):
        DataLoader(data(), **options)


@pytest.mark.parametrize("options", [{"timeout": 1}, {"worker_init_fn": print}, {"multiprocessing_context": "fork"}])
def test_worker_processes_are_refused(options):
    with pytest.raises(UnsupportedError, match="threads"):
        DataLoader(data(), **options)


def test_samplers():
    assert list(SequentialSampler(data(4))) == [0, 1, 2, 3]
    assert sorted(RandomSampler(data(4))) == [0, 1, 2, 3]
    twice = list(RandomSampler(data(4), num_samples=8))
    assert sorted(twice[:4]) == sorted(twice[4:]) == [0, 1, 2, 3]
    assert set(RandomSampler(data(3), replacement=True, num_samples=100)) == {0, 1, 2}
    assert sorted(SubsetRandomSampler([5, 7, 9])) == [5, 7, 9]
    assert list(BatchSampler(SequentialSampler(data(5)), 2, False)) == [[0, 1], [2, 3], [4]]
    assert list(BatchSampler(SequentialSampler(data(5)), 2, True)) == [[0, 1], [2, 3]]
    assert len(BatchSampler(SequentialSampler(data(5)), 2, False)) == 3
    assert list(RandomSampler(data(0))) == [] == order(DataLoader(data(0), 4, shuffle=True))


def test_weights_are_chances():
    drawn = np.array(list(WeightedRandomSampler([0.0, 1.0, 3.0], 20_000, generator=seeded(1))))
    assert 0 not in drawn
    assert abs((drawn == 2).mean() - 0.75) < 0.02
    assert sorted(WeightedRandomSampler([1, 0, 2], 2, replacement=False)) == [0, 2]


@pytest.mark.parametrize("weights, count, replacement", [([1, -1], 1, True), ([0, 0], 1, True), ([1, 0], 2, False)])
def test_weights_that_are_no_chances_are_refused(weights, count, replacement):
    with pytest.raises(OperationError, match="WeightedRandomSampler"):
        WeightedRandomSampler(weights, count, replacement)
    with pytest.raises(OperationError, match="positive whole number"):
        WeightedRandomSampler([1.0], 0)


@pytest.mark.peers
def test_names_defaults_and_shapes_are_those_of_pytorch():
    torch = pytest.importorskip("torch")
    import inspect

    theirs = inspect.signature(torch.utils.data.DataLoader.__init__).parameters
    ours = inspect.signature(DataLoader.__init__).parameters
    left_out = {"pin_memory_device", "in_order"}
    assert [n for n in theirs if n not in left_out] == list(ours)
    for name in ours.keys() - {"self"}:
        assert ours[name].default in (theirs[name].default, 0 if name == "timeout" else ours[name].default)
    other = torch.utils.data.TensorDataset(torch.arange(N)[:, None].float(), torch.arange(N))
    for options in ({"batch_size": 5}, {"batch_size": 5, "drop_last": True}, {"batch_sampler": EvenOdd()}):
        for mine, peer in zip(
            DataLoader(data(), **options), torch.utils.data.DataLoader(other, **options), strict=True
        ):
            assert type(mine) is type(peer) and [t.tolist() for t in mine] == [t.tolist() for t in peer]
