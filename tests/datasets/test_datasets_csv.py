"""CSV tables: the rules of the documentation, a sentence for each fault, and no bytes that break it."""

import csv
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backlit.datasets import DataError, read_csv

GOOD = "size,colour,kind\n1,red,a\n2,blue,b\n3,red,a\n4,green,b\n5,red,a\n"


@pytest.fixture
def file(tmp_path):
    def write(content):
        path = tmp_path / "table.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def together(data):
    """All rows, training and test, sorted: what the file held."""
    x, y = np.concatenate([data.x_train, data.x_test]), np.concatenate([data.y_train, data.y_test])
    return sorted(np.column_stack([x, y]).tolist())


def refusal(path, *args, **options):
    with pytest.raises(DataError) as caught:
        read_csv(path, *args, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_numbers_stay_and_text_becomes_one_column_per_category(file):
    data = read_csv(file(GOOD), "kind")
    assert data.feature_names == ("size", "colour=blue", "colour=green", "colour=red")
    assert together(data) == [[1, 0, 0, 1, 0], [2, 1, 0, 0, 1], [3, 0, 0, 1, 0], [4, 0, 1, 0, 1], [5, 0, 0, 1, 0]]
    assert (data.classes, data.task, data.name) == (("a", "b"), "classification", "table")
    assert data.x_train.dtype == np.float32 and data.y_train.dtype == np.int64 and len(data.x_test) == 1


@pytest.mark.parametrize(
    ("targets", "task", "expected", "classes"),
    [
        (["10", "9", "10.0", "2"], None, "classification", ("2", "9", "10")),
        ([str(n) for n in range(21)], None, "regression", None),
        ([str(n) for n in range(20)], None, "classification", tuple(map(str, range(20)))),
        (["1.5", "2", "3"], None, "regression", None),
        (["0", "1"], "regression", "regression", None),
        (["0.5", "1.5", "0.5"], "classification", "classification", ("0.5", "1.5")),
        (["0.1", "0.2", "01e-1"], "classification", "classification", ("0.1", "0.2")),
        (["16777216", "16777217.0"], None, "classification", ("16777216", "16777217")),
        (["yes", "no"], None, "classification", ("no", "yes")),
        ([str(n) for n in range(21)], "classification", "classification", tuple(map(str, range(21)))),
    ],
)
def test_the_rule_for_the_task(file, targets, task, expected, classes):
    lines = "".join(f"{row},{target}\n" for row, target in enumerate(targets))
    data = read_csv(file("x,t\n" + lines), "t", task=task, test_fraction=0)
    assert (data.task, data.classes) == (expected, classes)
    assert data.y_train.dtype == (np.int64 if classes else np.float32)
    in_file_order = data.y_train[np.argsort(data.x_train[:, 0])]
    values = [classes[code] for code in in_file_order] if classes else in_file_order.tolist()
    same = str if "yes" in targets else float
    assert [same(value) for value in values] == [same(target) for target in targets]


def test_options_drop_categorical_delimiter_and_split(file):
    path = file("id;code;v;t\nq;1;5;0.5\nw;2;6;1.5\ne;1;7;2.5\nr;2;8;3.5\n")
    data = read_csv(path, "t", drop=["id"], categorical=["code"], delimiter=";", test_fraction=0.5)
    assert data.feature_names == ("code=1", "code=2", "v") and len(data.x_test) == 2
    assert together(data) == [[0, 1, 6, 1.5], [0, 1, 8, 3.5], [1, 0, 5, 0.5], [1, 0, 7, 2.5]]
    options = {"drop": ["id"], "delimiter": ";", "test_fraction": 0.5}
    splits = {tuple(read_csv(path, "t", seed=seed, **options).y_test.tolist()) for seed in range(10)}
    assert len(splits) > 1


@pytest.mark.parametrize(
    "content",
    [
        "\ufeff" + GOOD,
        GOOD.replace("\n", "\r\n"),
        GOOD.replace("\n", "\r"),
        GOOD.replace(",", " , "),
        "\n" + GOOD.replace("\n", "\n\n") + "   \n",
        GOOD.replace("red", '"red"').rstrip("\n"),
    ],
)
def test_spellings_of_the_same_table(file, content):
    assert together(read_csv(file(content), "kind")) == together(read_csv(file(GOOD), "kind"))


def test_quoted_cells_may_hold_delimiters_and_line_ends(file):
    data = read_csv(file('n,s,t\n1,"a,b",0\n2,"c\nd",1\n'), "t", test_fraction=0)
    assert data.feature_names == ("n", "s=a,b", "s=c\nd")


@pytest.mark.parametrize(
    ("content", "options", "words"),
    [
        ("", {}, "the file is empty"),
        ("\n\n", {}, "the file is empty"),
        ("a,kind\n", {}, "no line of data"),
        ("a,kind\n1,x\n2,y,z\n", {}, "line 3: 3 cells where the header names 2; quote"),
        ("a,kind\n1,x\n\n2\n", {}, "line 4: 1 cell where the header names 2; fill"),
        ('a,kind\n"1\n",x\n2\n', {}, "line 4: 1 cell"),
        ("a,kind\n1,x\n,y\n", {}, "line 3: column 'a' is empty"),
        ("a,kind\n1,x\nNaN,y\n", {}, "line 3: column 'a' holds 'NaN' for a missing value"),
        ("a,kind\n1,x\n2,?\n", {}, "line 3: column 'kind' holds '?'"),
        ("a,kind\n1,x\n2,y\n3;,x\n", {}, "line 4: column 'a' holds '3;' where most cells are numbers"),
        ("a,kind\n1,x\n2,y\n1_000,x\n", {}, "line 4: column 'a' holds '1_000'"),
        ("a,kind\n1,x\ninf,y\n", {}, "line 3: column 'a' holds 'inf', which float32 cannot hold"),
        ("a,kind\n1,x\n1e39,y\n", {}, "'1e39', which float32 cannot hold"),
        ("a,kind\n1,1\n2,inf\n", {}, "column 'kind' holds 'inf'"),
        ("a,kind\n1,-nan\n2,1\n", {}, "column 'kind' holds '-nan'"),
        ("a,kind\n1,1\n2,2\n3,x\n", {}, "column 'kind' holds 'x' where most cells are numbers"),
        ("a,kind\n1,x\n2,x\n", {}, "every row has the same target, kind='x'"),
        ("a,kind\n1,3\n2,3.0\n", {}, "every row has the same target, kind='3'"),
        ("a,kind,a\n1,x,2\n", {}, "columns 1 and 3 are both named 'a'"),
        (",a,kind\n0,1,x\n", {}, "column 1 has no name"),
        ("kind\nx\ny\n", {}, "no feature column is left"),
        ("a,kind\n1,x\n2,y\n", {"drop": ["a"]}, "no feature column is left"),
        ("a,kind\n1,x\n2,y\n", {"drop": "a"}, r"give a list of names, drop=['a']"),
        ("a,kind\n1,x\n2,y\n", {"drop": ["kind"]}, "target 'kind' is also in drop"),
        ("a,kind\n1,x\n2,y\n", {"categorical": ["b"]}, "no column 'b' for categorical"),
        ("a,kind\n1,x\n2,y\n", {"task": "clustering"}, "task is 'clustering'"),
        ("a,kind\n1,2\n2,y\n", {"task": "regression"}, "line 3: regression needs numbers"),
        ("a,kind\n1,x\n2,y\n", {"delimiter": ",,"}, "delimiter is ',,'"),
        ("a,kind\n1,x\n2,y\n", {"test_fraction": 1.0}, "test_fraction is 1.0"),
        ("a,Kind\n1,x\n", {}, "no column 'kind' for the target (did you mean 'Kind'?)"),
        ("a;kind\n1;x\n", {}, "pass delimiter=';'"),
        ("5.1,3.5\n4.9,3.0\n", {}, "the first line must name the columns"),
        ('a,kind\n1,"x\n2,y\n', {}, "line 2: not valid CSV"),
        (b"a,kind\n1,x\n2,\xe9\n", {}, "line 3: byte 0xe9 is not UTF-8"),
        (GOOD.encode("utf-16"), {}, "line 1: byte 0xff is not UTF-8"),
        (GOOD.encode("utf-16-le"), {}, "null byte"),
    ],
)
def test_each_fault_has_its_sentence(file, content, options, words):
    assert words in refusal(file(content), "kind", **options)


def test_missing_file_and_folder(file, tmp_path):
    file(GOOD)
    assert "did you mean 'table.csv'?" in refusal(tmp_path / "tabel.csv", "kind")
    assert "this is a folder" in refusal(tmp_path, "kind")


def test_identifiers_are_not_categories(file):
    lines = "".join(f"name{row},{row % 2}\n" for row in range(257))
    assert "257 different texts" in refusal(file("who,kind\n" + lines), "kind")


def test_long_values_are_cut_short_in_messages(file):
    message = refusal(file("a,kind\n1,x\n2,y\n" + "z" * 5000 + ",x\n"), "kind")
    assert "(5000 characters)" in message and len(message) < 400


def check(path, **options):
    try:
        data = read_csv(path, "t", **options)
    except DataError as error:
        assert str(error) and len(str(error)) < 1000
        return
    assert np.isfinite(data.x_train).all() and np.isfinite(data.y_train).all()
    assert data.x_train.shape[1] == len(data.feature_names)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("csv") / "fuzz.csv"


@given(st.one_of(st.binary(max_size=60), st.binary(max_size=60).map(lambda tail: b"t,a\n" + tail)))
def test_any_bytes_give_data_or_a_data_error(scratch, content):
    scratch.write_bytes(content)
    check(scratch)


cells = st.one_of(
    st.integers(-3, 3).map(str),
    st.floats().map(str),
    st.sampled_from(["", "x", "y", '"', "\n", "\r", ",", " ", "1e999", "0x1", "1_0", "١", "-0.0"]),
    st.text(st.characters(codec="utf-8"), max_size=4),
)


@given(
    st.lists(st.tuples(cells, cells, cells), min_size=1, max_size=8),
    st.sampled_from([None, "regression", "classification"]),
)
def test_any_table_gives_data_or_a_data_error(scratch, rows, task):
    text = io.StringIO(newline="")
    csv.writer(text).writerows([("t", "a", "b"), *rows])
    scratch.write_bytes(text.getvalue().encode())
    check(scratch, task=task, test_fraction=0.3)


def test_random_damage_gives_data_or_a_data_error(scratch):
    rng = np.random.default_rng(0)
    whole = ("t" + GOOD[4:]).replace("kind", "k").encode()
    for _ in range(300):
        damaged = bytearray(whole[: rng.integers(len(whole) + 1)] if rng.random() < 0.3 else whole)
        for place in rng.integers(max(len(damaged), 1), size=2)[: len(damaged)]:
            damaged[place] = rng.integers(256)
        scratch.write_bytes(damaged)
        check(scratch)
