"""Values as they are typed and as files hold them."""

import numpy as np
import pytest

from backlit.glassbox import ExpressionError, ValueFileError, read_value
from backlit.glassbox.formula import values as reading


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-2", -2),
        (" 1/4 ", 0.25),
        ("2*pi", 2 * np.pi),
        ("[[1, 2], [3, -4]]", [[1, 2], [3, -4]]),
        ("zeros(2)", [0, 0]),
        ("ones(1, 2)", [[1, 1]]),
        ("eye(2)", [[1, 0], [0, 1]]),
        ("arange(3)", [0, 1, 2]),
    ],
)
def test_texts(text, expected):
    found = read_value(text)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, expected)


def test_whole_numbers_on_purpose():
    found = read_value("int([0, 2])")
    assert found.dtype == np.int64 and found.tolist() == [0, 2]
    with pytest.raises(ExpressionError, match="not whole numbers"):
        read_value("int(1.5)")


def test_drawn_values_can_be_drawn_again():
    assert read_value("randn(3, 4)").shape == (3, 4)
    np.testing.assert_array_equal(read_value("rand(5)"), read_value("rand(5)"))
    other = read_value("rand(5)", np.random.default_rng(1))
    assert ((other >= 0) & (other < 1)).all() and (other != read_value("rand(5)")).any()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x", "a value is a number"),
        ("[1, x]", "a value is a number"),
        ("", "is empty"),
        ("'a'", "not a real number"),
        ("[1, 2", "never closed"),
        ("open('f')", "not a real number"),
        ("[]", "this list is empty"),
        ("1/0", "division by zero"),
        ("1; 2", "one value is wanted"),
        ("2*randn(3)", "'randn' stands alone"),
        ("randn(1.5)", "sizes are whole numbers"),
        ("randn(-1)", "sizes are whole numbers"),
        ("eye(2, 3)", "takes one size"),
        ("zeros(10000, 10000)", "would have 100,000,000 elements"),
        ("eye(2000)", "would have 4,000,000 elements"),
        ("1" * 100_001, "the limit is 100000"),
    ],
)
def test_texts_that_are_no_values(text, message):
    with pytest.raises(ExpressionError, match=message):
        read_value(text)


def test_tables(here):
    (here / "a.csv").write_text("1,2\n3,4.5\n")
    (here / "b.csv").write_text('\ufeff"height";"width"\r\n1;2\r\n\r\n3;4\r\n', encoding="utf-8")
    (here / "c.txt").write_text("1 2 -3e1\n")
    (here / "d.tsv").write_text("1\n2\n")
    (here / "e").write_text("7")
    assert read_value("@a.csv").tolist() == [[1, 2], [3, 4.5]]
    assert read_value("a.csv").tolist() == [[1, 2], [3, 4.5]]
    assert read_value("@b.csv").tolist() == [[1, 2], [3, 4]]
    assert read_value("@c.txt").tolist() == [1, 2, -30]
    assert read_value("@d.tsv").tolist() == [1, 2]
    assert read_value("@e").shape == ()


def test_saved_arrays(here):
    np.save("w.npy", np.arange(6, dtype=np.int32).reshape(2, 3))
    found = read_value("w.npy")
    assert found.dtype == np.int32 and found.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert type(found) is np.ndarray and found.flags.writeable


def test_files_that_cannot_be_used(here, monkeypatch):
    np.save("objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.save("words.npy", np.array(["a"]))
    np.savez("several.npz", a=np.ones(2))
    (here / "several.npz").rename(here / "several.npy")
    (here / "half.npy").write_bytes(b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': (9,), }")
    (here / "junk.npy").write_bytes(b"junk")
    (here / "empty.npy").write_bytes(b"")
    (here / "data.csv").write_text("1,2\n3\n")
    (here / "words.csv").write_text("1,2\n3,x\n")
    (here / "only.csv").write_text("a,b\n")
    (here / "binary.csv").write_bytes(b"\xff\xfe\x00\x01")
    for name, message in [
        ("@dat.csv", r"is not there \(did you mean 'data.csv'"),
        ("@.", "is a folder"),
        ("objects.npy", "holds Python objects"),
        ("words.npy", "does not hold real numbers but <U1"),
        ("several.npy", "does not hold real numbers but several arrays"),
        ("half.npy", "cannot be read|holds Python objects"),
        ("junk.npy", "is no .npy file"),
        ("empty.npy", "cannot be read|is no .npy file"),
        ("@data.csv", "data.csv, line 2: 1 cells where the first row has 2"),
        ("@words.csv", "words.csv, line 2: 'x' is not a number"),
        ("@only.csv", "holds no numbers"),
        ("@binary.csv", "not text in UTF-8"),
    ]:
        with pytest.raises(ValueFileError, match=message):
            read_value(name)
    monkeypatch.setattr(reading, "MAX_BYTES", 3)
    with pytest.raises(ValueFileError, match="has 6 bytes; the limit is 3"):
        read_value("@data.csv")


def test_a_saved_array_with_too_many_elements_is_not_loaded(here, monkeypatch):
    np.save("w.npy", np.ones(100))
    monkeypatch.setattr(reading, "MAX_ELEMENTS", 99)
    with pytest.raises(ValueFileError, match="holds 100 numbers; the limit is 99"):
        read_value("w.npy")
