"""Steps found on disk by their program's text: nothing is worked out again, and nothing is taken for something else."""

import json
import subprocess
import sys

import numpy as np
import pytest

import backlit as bl
from backlit.compile.assemble import build
from backlit.compile.ir.program import Instruction, Program, Value
from backlit.compile.ir.text import Unwritable, text_of

X = bl.tensor([1.0, 2.0, 3.0])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("BACKLIT_CACHE", str(tmp_path))
    return tmp_path


@pytest.fixture
def builds(monkeypatch):
    """Grows by one entry whenever a program goes through the passes."""
    made, whole = [], build.build
    monkeypatch.setattr(build, "build", lambda *args, **kwargs: made.append(1) or whole(*args, **kwargs))
    return made


def twice(function, *args):
    """A compiled function that ran its native code."""
    compiled = bl.compile(function)
    compiled(*args)
    return compiled, compiled(*args)


def test_a_step_is_found_by_its_program(folder, builds):
    results = [float(twice(lambda x: (x * x + 2.0).sum(), X)[1]) for _ in range(2)]
    assert results == [20.0, 20.0]
    assert len(builds) == 1
    assert len(list(folder.glob("*.step"))) == 1


def test_what_was_found_explains_itself_as_what_was_built(folder, builds):
    def step(x):
        return ((x @ x.T).exp() + 1.0).log().sum(0)

    x = bl.tensor(np.linspace(0.0, 1.0, 12, dtype=np.float32).reshape(3, 4))
    (first, _), (second, _) = (twice(step, x) for _ in range(2))
    assert len(builds) == 1
    assert second._latest().executable.arena.size == second.plan().arena == first.plan().arena
    assert second.explain() == first.explain()
    assert str(second.plan()) == str(first.plan())
    assert len(second.profile(x, steps=2).regions) == len(first.plan().regions)


@pytest.mark.parametrize("kind", ["step", "code"])
@pytest.mark.parametrize("damage", [lambda c: c[:-3], lambda c: b"", lambda c: c[:-1] + b"X", None])
def test_a_damaged_entry_is_made_again(folder, builds, kind, damage):
    def once():
        return twice(lambda x: (x.exp() * x).sum(), X)[1].numpy()

    wanted = once()
    (path,) = folder.glob(f"*.{kind}")
    whole = path.read_bytes()
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage(whole))
    assert once() == wanted
    assert path.read_bytes() == whole
    assert len(builds) == 2


def test_facts_of_another_kind_are_not_taken(folder, builds, monkeypatch):
    from backlit.compile.runtime import disk_cache

    twice(lambda x: (x * 3.0).sum(), X)
    (path,) = folder.glob("*.step")
    facts = json.loads(disk_cache.read(folder, path.stem, disk_cache.STEP))
    for wrong in ({"arena": "large"}, {"sequence": "step0"}, {"shared": 0}, {"code": 7}, {"code": "../other"}):
        disk_cache.write(folder, path.stem, json.dumps({**facts, **wrong}).encode(), disk_cache.STEP)
        assert float(twice(lambda x: (x * 3.0).sum(), X)[1]) == 18.0
    assert len(builds) == 6


def test_functions_that_differ_are_different_steps(folder):
    by_columns = bl.tensor(np.arange(6.0, dtype=np.float32).reshape(3, 2)).T
    in_rows = bl.tensor(np.ascontiguousarray(by_columns.numpy()))
    functions = [lambda x: x * 2.0, lambda x: x * 2.5, lambda x: x + 2.0, lambda x: 2.0 - x, lambda x: x.sum(0)]
    functions += [lambda x: x.sum(1), lambda x: x[:, ::2], lambda x: x[:, 1:], lambda x: -0.0 * x, lambda x: 0.0 * x]
    for x in (by_columns, in_rows, in_rows.double(), in_rows[:, :2]):
        for function in functions:
            native = twice(function, x)[1].numpy()
            wanted = function(x).numpy()
            np.testing.assert_array_equal(native, wanted)
            assert (np.signbit(native) == np.signbit(wanted)).all()
    assert len(list(folder.glob("*.step"))) == len(functions) * 4


def test_numbers_of_threads_are_different_steps(folder, builds, number_of_threads):
    for count in (1, 2, 1, 2):
        number_of_threads(count)
        twice(lambda x: (x * x).sum(), X)
    assert len(builds) == 2


def test_programs_that_call_python_are_not_kept(folder, builds):
    x = bl.tensor([3.0, 1.0, 2.0])
    for _ in range(2):
        assert twice(lambda x: bl.sort(x * 2.0)[0], x)[1].tolist() == [2.0, 4.0, 6.0]
    assert len(builds) == 2
    assert not list(folder.glob("*.step"))


def test_a_second_process_finds_a_training_step(folder):
    program = """
import backlit as bl
from backlit.compile.assemble import build
bl.manual_seed(0)
made, whole = [], build.build
build.build = lambda *args, **kwargs: made.append(1) or whole(*args, **kwargs)
model = bl.nn.Sequential(bl.nn.Linear(4, 8), bl.nn.GELU(), bl.nn.Dropout(0.5), bl.nn.Linear(8, 3))
optimizer = bl.optim.Adam(model.parameters(), lr=0.01)

@bl.compile
def step(x, y):
    optimizer.zero_grad()
    loss = bl.nn.functional.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    return loss

x, y = bl.randn(5, 4), bl.tensor([0, 1, 2, 0, 1])
print(len(made), [float(step(x, y)) for _ in range(4)], len(made))
"""
    told = [subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True) for _ in "ab"]
    first, second = (run.stdout.split("[") for run in told)
    assert (first[1].split("]")[1].strip(), second[1].split("]")[1].strip()) == ("1", "0")
    assert first[1].split("]")[0] == second[1].split("]")[0]


# -- the text -------------------------------------------------------------------------------------------------------


def program(**settings):
    x = Value((2, 3), np.dtype("float32"), "x")
    y = Value((3, 2), np.dtype("float32"))
    return Program([x], [Instruction("permute", (x,), (y,), {"dims": (1, 0), **settings})], [y])


def test_names_and_numbers_do_not_count():
    assert text_of(program()) == text_of(program())
    assert text_of(program(meaning=np.transpose)) == text_of(program())


SETTINGS = [{"n": 1}, {"n": 1.0}, {"n": True}, {"n": (1,)}, {"n": [1]}, {"m": 1}, {"n": None}]


@pytest.mark.parametrize("settings", SETTINGS)
def test_settings_do(settings):
    assert sum(text_of(program(**other)) == text_of(program(**settings)) for other in SETTINGS) == 1


@pytest.mark.parametrize("setting", [len, np.ones(2), np.float32(1.0), object()])
def test_what_has_no_text_of_its_own(setting):
    with pytest.raises(Unwritable):
        text_of(program(n=setting))
