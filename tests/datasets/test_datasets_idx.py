"""IDX files: what is written is read back, and no bytes whatever give anything but an array or a DataError."""

import gzip
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from backlit.datasets import DataError, read_idx, write_idx

DTYPES = [np.uint8, np.int8, np.int16, np.int32, np.float32, np.float64]
arrays = st.sampled_from(DTYPES).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
)


def zipped(content):
    """gzip without a time stamp: the same bytes, and so the same test names, whenever they are made."""
    return gzip.compress(content, mtime=0)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("idx") / "file"


def header(*shape, code=8):
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, code, len(shape), *shape)


def refusal(path, content):
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_idx(path)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message
    return message


@given(arrays, st.sampled_from(["a.idx", "a.idx.gz"]))
def test_what_is_written_is_read_back(scratch, array, name):
    path = scratch.with_name(name)
    write_idx(path, array)
    back = read_idx(path)
    assert back.dtype == array.dtype and back.dtype.isnative and back.flags.writeable
    np.testing.assert_array_equal(back, array)
    assert (path.read_bytes()[:2] == b"\x1f\x8b") == name.endswith(".gz")


@pytest.mark.parametrize("order", "CF")
def test_layout_on_disk_is_that_of_the_format(scratch, order):
    write_idx(scratch, np.array([[1, 2], [3, 4]], dtype=">i2", order=order))
    assert scratch.read_bytes() == bytes.fromhex("00000b02 00000002 00000002 0001 0002 0003 0004")


def test_compression_is_told_by_content_not_by_name(scratch):
    scratch.write_bytes(zipped(header(2) + b"\5\6"))
    assert read_idx(scratch).tolist() == [5, 6]
    misnamed = scratch.with_name("plain.gz")
    misnamed.write_bytes(header(2) + b"\5\6")
    assert read_idx(str(misnamed)).tolist() == [5, 6]


def test_the_same_array_gives_the_same_bytes(scratch):
    path = scratch.with_name("twice.gz")
    contents = []
    for _ in range(2):
        write_idx(path, np.arange(5, dtype=np.uint8))
        contents.append(path.read_bytes())
    assert contents[0] == contents[1]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (zipped(b""), "empty"),
        (b"\0\0", "begins with bytes 00 00"),
        (b"\0\0\x07\1\0\0\0\0", "no IDX file"),
        (b"PK\3\4....", "zip archive"),
        (b"<!DOCTYPE html>", "download failed"),
        (b"version https://git-lfs", "git lfs pull"),
        (b"\x93NUMPY\1\0", "numpy.load"),
        (zipped(zipped(b"x")), "compressed twice"),
        (header(3)[:6], "ends inside its header"),
        (header(3) + b"ab", "(3,) needs 3 bytes of values and 2 are there"),
        (header(3) + b"abcd", "bytes follow the 3"),
        (header(*[1] * 70) + b"x", "70 dimensions"),
        (header(0, *[2**32 - 1] * 3), "not usable"),
        (zipped(header(3) + b"abcd"), "bytes follow the 3"),
        (zipped(header(3) + b"abc") + b"junk", "gzip data are damaged"),
        (zipped(header(3) + b"abc")[:-9], "gzip data are damaged"),
        (zipped(header(3) + b"abc")[:-1] + b"\1", "gzip data are damaged"),
    ],
)
def test_each_fault_has_its_sentence(scratch, content, words):
    assert words in refusal(scratch, content)


@pytest.mark.parametrize("pack", [bytes, zipped])
def test_a_header_that_claims_too_much_costs_no_memory(scratch, pack):
    content = pack(header(2**32 - 1, 2**32 - 1, code=0x0E) + b"tiny")
    tracemalloc.start()
    try:
        assert "cut short" in refusal(scratch, content)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_missing_files_folders_and_impossible_paths(tmp_path):
    (tmp_path / "train-labels").write_bytes(b"")
    with pytest.raises(DataError, match=r"did you mean 'train-labels'\?"):
        read_idx(tmp_path / "train-label")
    with pytest.raises(DataError, match="this is a folder"):
        read_idx(tmp_path)
    with pytest.raises(DataError, match="cannot be read"):
        read_idx("nul\0byte")


def test_a_leading_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write_idx("~/home.idx", np.zeros(2, np.uint8))
    assert (tmp_path / "home.idx").exists() and read_idx("~/home.idx").shape == (2,)


@pytest.mark.parametrize("array", [np.zeros(2, np.int64), np.zeros(2, bool), np.array(["a"]), np.array([None])])
def test_dtypes_without_a_code_are_refused(tmp_path, array):
    with pytest.raises(DataError, match=r"cannot hold .*array\.astype"):
        write_idx(tmp_path / "x", array)
    assert not any(tmp_path.iterdir())


def test_a_failed_write_leaves_nothing_behind_and_keeps_the_old(tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(DataError, match="cannot be written"):
        write_idx(tmp_path / "taken", np.zeros(2, np.uint8))
    with pytest.raises(DataError, match="cannot be written"):
        write_idx(tmp_path / "no" / "folder", np.zeros(2, np.uint8))
    assert [entry.name for entry in tmp_path.iterdir()] == ["taken"]


@given(st.one_of(st.binary(max_size=80), st.binary(max_size=40).map(lambda tail: header(2, 3)[:6] + tail)))
def test_any_bytes_give_an_array_or_a_data_error(scratch, content):
    for variant in (content, zipped(content), b"\x1f\x8b\x08" + content):
        scratch.write_bytes(variant)
        try:
            assert isinstance(read_idx(scratch), np.ndarray)
        except DataError as error:
            assert "\n" not in str(error)


def test_a_damaged_gzip_file_never_gives_other_values(scratch):
    """Every cut and, at every place, a random flip: the checksum must catch what the decoder lets through."""
    rng = np.random.default_rng(0)
    array = rng.integers(0, 17, (6, 4, 4)).astype(np.uint8)
    path = scratch.with_name("whole.gz")
    write_idx(path, array)
    whole = path.read_bytes()
    for place in range(len(whole)):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << rng.integers(8)
        for content in (bytes(flipped), whole[:place]):
            scratch.write_bytes(content)
            try:
                result = read_idx(scratch)
            except DataError:
                continue
            assert content == bytes(flipped), "a cut file must not be accepted"
            np.testing.assert_array_equal(result, array)


def test_a_plain_file_with_a_damaged_header_keeps_its_size_or_is_refused(scratch):
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    write_idx(scratch, array)
    whole = scratch.read_bytes()
    for place in range(16):
        for bit in range(8):
            flipped = bytearray(whole)
            flipped[place] ^= 1 << bit
            scratch.write_bytes(flipped)
            try:
                result = read_idx(scratch)
            except DataError:
                continue
            assert result.shape == array.shape and result.dtype == np.int8
