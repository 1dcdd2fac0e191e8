"""MNIST folders and the bundled digits."""

import gzip
import os
import pathlib
import shutil

import numpy as np
import pytest

from backlit.datasets import Data, DataError, digits, mnist, write_idx

ROOT = pathlib.Path(__file__).resolve().parents[2]
REAL_MNIST = pathlib.Path(os.environ.get("BACKLIT_DATA", ROOT.parent / "shared" / "data")) / "mnist"
NAMES = [f"{part}-{kind}" for part in ("train", "t10k") for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")]


@pytest.fixture
def folder(tmp_path):
    """A small image set: 5 training and 2 test images of 4 by 3 pixels."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 5), ("t10k", 2)):
        write_idx(tmp_path / f"{part}-images-idx3-ubyte", rng.integers(0, 256, (count, 4, 3)).astype(np.uint8))
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte", rng.integers(0, 10, count).astype(np.uint8))
    return tmp_path


def refusal(folder):
    with pytest.raises(DataError) as caught:
        mnist(folder)
    message = str(caught.value)
    assert str(folder) in message and "\n" not in message
    return message


def test_shapes_dtypes_and_description(folder):
    data = mnist(str(folder))
    assert data.x_train.shape == (5, 4, 3) and data.x_train.dtype == np.uint8
    assert data.y_test.shape == (2,) and data.y_test.dtype == np.int64
    assert (data.image_shape, data.pixel_max, data.task, data.name) == ((4, 3), 255, "classification", "mnist")
    assert data.classes == tuple("0123456789") and data.feature_names is None


def test_scaled_rows_lie_in_0_to_1_and_scaling_twice_changes_nothing(folder):
    data = mnist(folder)
    scaled = data.scaled()
    assert scaled.x_train.dtype == np.float32 and scaled.image_shape == (4, 3)
    np.testing.assert_allclose(scaled.x_train, data.x_train.reshape(5, 12) / 255, rtol=1e-7)
    assert scaled.scaled() is scaled


def test_compressed_and_dotted_names_mix(folder):
    for number, name in enumerate(NAMES):
        other = name.replace("-idx", ".idx") if number % 2 else name
        content = (folder / name).read_bytes()
        (folder / name).unlink()
        (folder / f"{other}.gz").write_bytes(gzip.compress(content))
    assert mnist(folder).x_train.shape == (5, 4, 3)


def test_missing_folder_file_for_folder_and_missing_file(folder):
    assert "no such folder" in refusal(folder / "gone")
    assert "this is a file" in refusal(folder / NAMES[0])
    (folder / "t10k-labels-idx1-ubyte").rename(folder / "t10k-labels-idx1-ubyte.txt")
    message = refusal(folder)
    for name in ("t10k-labels-idx1-ubyte,", "t10k-labels-idx1-ubyte.gz", "t10k-labels.idx1-ubyte "):
        assert name in message
    assert "(did you mean 't10k-labels-idx1-ubyte.txt'?)" in message


def test_swapped_files_say_so(folder):
    shutil.copy(folder / NAMES[1], folder / NAMES[0])
    assert "images belong in this file and it holds labels" in refusal(folder)
    write_idx(folder / NAMES[0], np.zeros((5, 4, 3), np.float32))
    assert "holds float32 values of 3 dimensions" in refusal(folder)
    write_idx(folder / NAMES[0], np.zeros((5, 4), np.uint8))
    assert "holds uint8 values of 2 dimensions" in refusal(folder)


def test_counts_labels_and_sizes_that_do_not_fit(folder):
    write_idx(folder / "t10k-images-idx3-ubyte", np.zeros((2, 5, 3), np.uint8))
    assert "training images are 4 by 3 pixels and test images 5 by 3" in refusal(folder)
    write_idx(folder / "train-labels-idx1-ubyte", np.array([1, 2, 10, 3, 11], np.uint8))
    assert "label 2 is 10, outside 0..9" in refusal(folder)
    write_idx(folder / "train-labels-idx1-ubyte", np.zeros(4, np.uint8))
    assert "holds 5 images and train-labels-idx1-ubyte 4 labels" in refusal(folder)
    for name, shape in zip(NAMES, [(0, 4, 3), (0,)], strict=False):
        write_idx(folder / name, np.zeros(shape, np.uint8))
    assert "no images" in refusal(folder)


def test_random_damage_gives_data_or_a_data_error(folder):
    rng = np.random.default_rng(1)
    for _ in range(200):
        path = folder / NAMES[rng.integers(4)]
        whole = path.read_bytes()
        damaged = bytearray(whole)
        damaged[rng.integers(min(len(whole), 20))] = rng.integers(256)
        path.write_bytes(damaged[: rng.integers(len(whole) + 1)] if rng.random() < 0.5 else damaged)
        try:
            assert isinstance(mnist(folder), Data)
        except DataError as error:
            assert "\n" not in str(error)
        path.write_bytes(whole)


@pytest.mark.skipif(not REAL_MNIST.is_dir(), reason=f"no MNIST in {REAL_MNIST}; set BACKLIT_DATA to its parent folder")
def test_the_real_mnist():
    data = mnist(REAL_MNIST)
    assert data.x_train.shape == (60000, 28, 28) and data.x_test.shape == (10000, 28, 28)
    assert np.bincount(data.y_train).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(data.y_test).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert (data.x_train.mean() / 255).round(4) == 0.1307 and (data.x_train.std() / 255).round(4) == 0.3081


def test_digits_are_split_once_and_evenly():
    data = digits()
    assert data.x_train.dtype == np.uint8 and (data.x_train.max(), data.pixel_max) == (16, 16)
    totals = np.bincount(data.y_train) + np.bincount(data.y_test)
    assert totals.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert np.bincount(data.y_test).tolist() == [36, 36, 35, 37, 36, 36, 36, 36, 35, 36]
    assert "10.24432/C50P49" in data.source and "CC BY 4.0" in data.source


def test_digits_are_those_of_the_source():
    sklearn_datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn holds the original file")
    original = sklearn_datasets.load_digits()
    data = digits()
    ours = np.column_stack(
        [np.concatenate([data.x_train, data.x_test]).reshape(-1, 64), np.concatenate([data.y_train, data.y_test])]
    )
    theirs = np.column_stack([original.data, original.target]).astype(int)
    assert sorted(map(tuple, ours.tolist())) == sorted(map(tuple, theirs.tolist()))


def test_nearest_neighbours_read_the_digits():
    data = digits().scaled()
    distances = ((data.x_test[:, None] - data.x_train) ** 2).sum(axis=2)
    assert np.mean(data.y_train[distances.argmin(axis=1)] == data.y_test) > 0.97


def test_data_refuses_features_and_targets_of_different_length():
    x, y = np.zeros((3, 2), np.float32), np.zeros(2, np.int64)
    with pytest.raises(DataError, match="x_train has 3 rows and y_train has 2"):
        Data(x, y, x, y, ("a", "b"), ("p", "q"), None, "classification", "mine", "made up")
