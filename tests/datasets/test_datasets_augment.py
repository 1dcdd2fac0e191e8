"""Augmentations: exact where the answer is known, and never touching what they were given."""

import numpy as np
import pytest

from backlit.datasets import DataError, digits
from backlit.datasets.augment import Compose, Flip, Noise, Rotate, Shift, _rotated, _shifted

EACH = [Shift(2), Rotate(30), Flip(), Flip(False, p=0.3), Noise(0.5), Compose([Rotate(10), Shift(1), Noise(1)])]


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("change", EACH, ids=repr)
@pytest.mark.parametrize("shape", [(7, 5, 6), (7, 2, 5, 6), (0, 5, 6), (3, 1, 1)])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "float16", "float32", "float64", ">f4"])
def test_shape_and_dtype_stay_and_the_input_is_untouched(change, shape, dtype):
    images = rng(1).integers(0, 100, shape).astype(dtype)
    before = images.copy()
    result = change(images, rng())
    assert result.shape == shape and result.dtype == images.dtype and not np.shares_memory(result, images)
    np.testing.assert_array_equal(images, before)
    np.testing.assert_array_equal(result, change(images, rng()))


@pytest.mark.parametrize("change", EACH[:4], ids=repr)
def test_channels_change_alike(change):
    images = rng(1).random((6, 5, 6))
    both = change(np.stack([images, images], axis=1), rng())
    np.testing.assert_array_equal(both[:, 0], both[:, 1])
    np.testing.assert_array_equal(both[:, 0], change(images, rng()))


def test_shift_moves_down_and_right_and_uncovers_zeros():
    image = np.arange(1, 10).reshape(1, 1, 3, 3)
    moved = _shifted(np.repeat(image, 3, axis=0), np.array([1, 0, -5]), np.array([-1, 2, 0]))
    assert moved[0, 0].tolist() == [[0, 0, 0], [2, 3, 0], [5, 6, 0]]
    assert moved[1, 0].tolist() == [[0, 0, 1], [0, 0, 4], [0, 0, 7]]
    assert not moved[2].any()


def test_shift_reaches_every_offset_and_no_other():
    images = np.zeros((2000, 9, 9), np.uint8)
    images[:, 4, 4] = 1
    _, rows, columns = np.nonzero(Shift(2)(images, rng()))
    assert set(zip(rows.tolist(), columns.tolist(), strict=True)) == {(y, x) for y in range(2, 7) for x in range(2, 7)}


@pytest.mark.parametrize("shape", [(5, 5), (6, 6), (1, 1)])
def test_quarter_turns_are_those_of_numpy(shape):
    image = rng().random(shape)
    for turns in range(-2, 3):
        turned = _rotated(image[None, None], np.array([turns * np.pi / 2]))[0, 0]
        np.testing.assert_allclose(turned, np.rot90(image, turns), atol=1e-12)


def test_a_half_turn_of_an_oblong_image_and_no_turn():
    image = rng().random((4, 7))
    half, none = _rotated(np.stack([image, image])[:, None], np.array([np.pi, 0.0]))[:, 0]
    np.testing.assert_allclose(half, image[::-1, ::-1], atol=1e-12)
    np.testing.assert_array_equal(none, image)


def test_rotation_is_bilinear_interpolation():
    ndimage = pytest.importorskip("scipy.ndimage")
    image = rng().random((9, 12))
    for degrees in (-50.0, -7.0, 12.5, 33.0):
        ours = _rotated(image[None, None], np.radians([degrees]))[0, 0]
        theirs = ndimage.rotate(image, degrees, reshape=False, order=1, mode="grid-constant")
        np.testing.assert_allclose(ours, theirs, atol=1e-12)


def test_rotation_keeps_a_constant_inside_and_rounds_integers():
    images = np.full((300, 21, 21), 200, np.uint8)
    turned = Rotate(45)(images, rng())
    assert (turned[:, 7:14, 7:14] == 200).all() and turned.max() == 200 and (turned[:, 0, 0] == 0).any()


def test_batches_larger_than_one_block_rotate_like_small_ones():
    images = rng().random((600, 6, 6)).astype(np.float32)
    angles = np.radians(rng(5).uniform(-20, 20, 600))
    np.testing.assert_array_equal(Rotate(20)(images, rng(5))[:, None], _rotated(images[:, None], angles))


def test_flip_mirrors_about_half_of_the_images():
    images = rng().random((1000, 3, 4))
    for change, mirrored in ((Flip(), images[:, :, ::-1]), (Flip(horizontal=False), images[:, ::-1])):
        result = change(images, rng())
        flipped = (result == mirrored).all(axis=(1, 2))
        assert 400 < flipped.sum() < 600 and (result[~flipped] == images[~flipped]).all()
    np.testing.assert_array_equal(Flip(p=0)(images, rng()), images)


def test_noise_has_its_deviation_and_integers_stay_in_range():
    noise = Noise(0.5)(np.zeros((50, 20, 20), np.float32), rng())
    assert abs(noise.std() - 0.5) < 0.01 and abs(noise.mean()) < 0.01
    images = np.tile(np.array([0, 255], np.uint8), (10, 8, 4))
    noisy = Noise(30)(images, rng())
    assert (noisy[..., ::2] < 128).all() and (noisy[..., 1::2] > 127).all()


def test_augmented_digits_are_still_read_as_themselves():
    data = digits()
    changed = Compose([Rotate(10), Noise(1)])(data.x_test, rng())
    distances = ((changed.reshape(-1, 1, 64).astype(float) - data.x_train.reshape(-1, 64)) ** 2).sum(axis=2)
    assert np.mean(data.y_train[distances.argmin(axis=1)] == data.y_test) > 0.93


@pytest.mark.parametrize(
    "make",
    [
        lambda: Shift(-1),
        lambda: Shift(1.5),
        lambda: Rotate(-1),
        lambda: Rotate(float("inf")),
        lambda: Flip(p=1.1),
        lambda: Flip(p=float("nan")),
        lambda: Noise(-0.1),
        lambda: Noise(float("nan")),
    ],
)
def test_arguments_outside_their_range(make):
    with pytest.raises(DataError, match="give a"):
        make()


@pytest.mark.parametrize("change", EACH[:5], ids=repr)
def test_what_is_no_stack_of_images_is_refused(change):
    for images, words in [
        (np.zeros((5, 5)), r"shape \(5, 5\)"),
        (np.zeros((2, 0, 5)), r"shape \(2, 0, 5\)"),
        (np.zeros((2, 5, 5), bool), "images are bool"),
        ([[[1.0]]], "images are list"),
    ]:
        with pytest.raises(DataError, match=words):
            change(images, rng())
    with pytest.raises(DataError, match=r"default_rng\(seed\)"):
        change(np.zeros((2, 5, 5)), 0)


@pytest.mark.parametrize("change", [Rotate(5), Noise(1)], ids=repr)
@pytest.mark.parametrize("dtype", [np.int64, np.longdouble])
def test_dtypes_wider_than_float64_are_refused_where_pixels_are_computed(change, dtype):
    with pytest.raises(DataError, match="convert them"):
        change(np.zeros((1, 2, 2), dtype), rng())


def test_reprs_say_what_would_be_done():
    assert repr(Compose([Shift(2), Rotate(5.0)])) == "Compose([Shift(max_pixels=2), Rotate(max_degrees=5.0)])"
