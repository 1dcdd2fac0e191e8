"""Code on disk: found again, whole or not at all, and never trusted where others could write."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("llvmlite")

from backlit.compile.codegen.target import host_target
from backlit.compile.runtime import disk_cache


@pytest.fixture
def folder(tmp_path, monkeypatch):
    disk_cache.compiler_hash()  # kept somewhere else
    monkeypatch.setenv("BACKLIT_CACHE", str(tmp_path / "code"))
    return tmp_path / "code"


def no_need():
    raise AssertionError("the code was made again")


def test_made_once_and_found_again(folder):
    assert disk_cache.cached("text", lambda: b"code") == b"code"
    assert disk_cache.cached("text", no_need) == b"code"
    assert disk_cache.cached("other text", lambda: b"other") == b"other"


def test_other_processors_have_other_code(folder):
    narrow = host_target().narrowed(16)
    assert disk_cache.key_of("text") != disk_cache.key_of("text", narrow)
    assert disk_cache.key_of("ab") != disk_cache.key_of("a")


@pytest.mark.parametrize("damage", [lambda c: c[:-1], lambda c: b"", lambda c: c[:-1] + b"X", lambda c: b"X" + c[1:]])
def test_damaged_entries_are_made_again(folder, damage):
    disk_cache.cached("text", lambda: b"code")
    (path,) = folder.iterdir()
    path.write_bytes(damage(path.read_bytes()))
    assert disk_cache.cached("text", lambda: b"anew") == b"anew"
    assert disk_cache.cached("text", no_need) == b"anew"


def test_an_entry_under_another_name_is_not_taken(folder):
    disk_cache.cached("text", lambda: b"code")
    (path,) = folder.iterdir()
    path.rename(folder / (disk_cache.key_of("other") + ".code"))
    assert disk_cache.cached("other", lambda: b"mine") == b"mine"


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="Windows keeps users' folders apart by itself")
def test_a_folder_that_others_can_write_to_is_not_used(folder):
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    assert disk_cache.cache_folder() is None
    assert disk_cache.cached("text", lambda: b"code") == b"code"
    assert list(folder.iterdir()) == []
    folder.chmod(0o700)
    assert disk_cache.cache_folder() == folder


def test_turned_off(monkeypatch):
    monkeypatch.setenv("BACKLIT_CACHE", "0")
    assert disk_cache.cache_folder() is None
    assert disk_cache.cached("text", lambda: b"code") == b"code"


def test_a_folder_that_cannot_be_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("BACKLIT_CACHE", str(tmp_path / "file" / "code"))
    assert disk_cache.cached("text", lambda: b"code") == b"code"


def test_the_oldest_entries_go_first(folder, monkeypatch):
    monkeypatch.setattr(disk_cache, "LIMIT", 400)
    for i, text in enumerate(("first", "second", "third")):
        disk_cache.cached(text, lambda: b"c" * 100)
        path = folder / (disk_cache.key_of(text) + ".code")
        if path.exists():
            os.utime(path, (i, i))
    assert disk_cache.read(folder, disk_cache.key_of("first")) is None
    assert disk_cache.read(folder, disk_cache.key_of("third")) is not None


def test_what_a_killed_process_left_is_cleared(folder):
    folder.mkdir(mode=0o700)
    left, at_work = folder / "left.new", folder / "at_work.new"
    left.write_bytes(b"half")
    at_work.write_bytes(b"half")
    os.utime(left, (1, 1))
    disk_cache.cached("other text", lambda: b"code")
    assert (left.exists(), at_work.exists()) == (False, True)


def test_the_folder_is_not_looked_through_at_each_entry(folder, monkeypatch):
    """Which took longer than compiling a small step, where a few thousand entries lay."""
    looks = []
    look = disk_cache._shrink
    monkeypatch.setattr(disk_cache, "_shrink", lambda folder: looks.append(folder) or look(folder))
    monkeypatch.setattr(disk_cache, "LIMIT", 16_000)
    for i in range(40):
        disk_cache.cached(f"text {i}", lambda: b"c" * 100)
    assert len(looks) == 1 + 3  # after the first entry, and after a thousand bytes each time
    assert len(list(folder.iterdir())) == 40


def test_many_processes_at_once(folder):
    program = """
from backlit.compile.runtime import disk_cache
for i in range(30):
    assert disk_cache.cached(f"text {i}", lambda: bytes([i]) * 50_000) == bytes([i]) * 50_000
"""
    runs = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(3)]
    assert [run.wait(60) for run in runs] == [0, 0, 0]
    assert len(list(folder.glob("*.code"))) == 30


def test_code_on_disk_is_found_without_writing_llvm(tmp_path, monkeypatch):
    """Writing a module down takes longer than all the rest of a warm start."""
    import backlit as bl
    from backlit.compile.assemble import build

    monkeypatch.setenv("BACKLIT_CACHE", str(tmp_path))
    x = bl.tensor([1.0, 2.0, 3.0])

    def once():
        f = bl.compile(lambda x: (x * x + 2.0).sum())
        return [float(f(x)) for _ in range(2)]

    emitted = []
    emit = build.emit_module
    monkeypatch.setattr(build, "emit_module", lambda *a: emitted.append(1) or emit(*a))
    assert once() == once() == [20.0, 20.0]
    assert len(emitted) == 1


@pytest.mark.parametrize("module", ["backlit", "llvmlite"])
def test_other_versions_have_other_code(folder, module, monkeypatch):
    before = disk_cache.key_of("text")
    monkeypatch.setattr(f"{module}.__version__", "0.0.0")
    assert disk_cache.key_of("text") != before
    monkeypatch.setattr(disk_cache, "compiler_hash", lambda: "of another source")
    assert len({disk_cache.key_of("text"), before}) == 2


def test_a_changed_compiler_has_other_code(folder, monkeypatch):
    disk_cache.cached("text", lambda: b"code")
    monkeypatch.setattr(disk_cache, "compiler_hash", lambda: "of another source")
    assert disk_cache.cached("text", lambda: b"anew") == b"anew"


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A library of three files, which the hash of the compiler is taken of."""
    root = tmp_path / "library"
    for name in ("compile/runtime/disk_cache.py", "compile/passes.py", "ops/elementwise.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"# {name}")
    monkeypatch.setattr(disk_cache, "__file__", str(root / "compile/runtime/disk_cache.py"))
    return root


def in_another_process():
    return disk_cache.compiler_hash.__wrapped__()


def test_the_hash_of_the_compiler_is_kept(folder, library, monkeypatch):
    found = in_another_process()
    assert len(list(folder.glob("*.sources"))) == 1
    monkeypatch.setattr(disk_cache, "_hash_of_contents", lambda *_: no_need())
    assert in_another_process() == found


@pytest.mark.parametrize("name", ["compile/passes.py", "ops/elementwise.py", "compile/another.py"])
def test_a_changed_file_has_another_hash(folder, library, name):
    found = in_another_process()
    (library / name).write_text("# something else, as long")
    os.utime(library / name, ns=(0, 0))
    assert in_another_process() != found


def test_the_same_files_elsewhere_have_the_same_hash(folder, library, monkeypatch):
    found = in_another_process()
    moved = library.rename(library.with_name("moved"))
    monkeypatch.setattr(disk_cache, "__file__", str(moved / "compile/runtime/disk_cache.py"))
    assert in_another_process() == found
    assert len(list(folder.glob("*.sources"))) == 2


def test_a_damaged_hash_is_taken_anew(folder, library):
    found = in_another_process()
    (path,) = folder.glob("*.sources")
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert in_another_process() == found


def test_without_a_cache_the_hash_is_the_same(folder, library, monkeypatch):
    found = in_another_process()
    monkeypatch.setenv("BACKLIT_CACHE", "0")
    assert in_another_process() == found


@pytest.mark.parametrize("trouble", ["mkstemp", "replace"])
def test_a_folder_that_takes_no_files_is_no_error(folder, trouble, monkeypatch):
    """A full or read-only disk, say: nothing is kept, and nothing is left behind."""

    def refuse(*args, **kwargs):
        raise OSError(28, "no space left on device")

    monkeypatch.setattr(disk_cache.tempfile if trouble == "mkstemp" else disk_cache.os, trouble, refuse)
    assert disk_cache.cached("text", lambda: b"code") == b"code"
    assert list(folder.iterdir()) == []


def test_a_damaged_entry_does_not_change_results(tmp_path, monkeypatch):
    import backlit as bl

    monkeypatch.setenv("BACKLIT_CACHE", str(tmp_path))
    x = bl.tensor([1.0, 2.0, 3.0])

    def once():
        f = bl.compile(lambda x: (x.exp() * x).sum())
        return [float(f(x)) for _ in range(2)]

    wanted = once()
    (path,) = tmp_path.glob("*.code")
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], bytes(len(whole)), whole[:-9] + bytes(9)):
        path.write_bytes(damaged)
        assert once() == wanted
        assert path.read_bytes() == whole


def test_two_processes_compile_the_same_step_at_once(folder):
    program = """
import backlit as bl
x = bl.tensor([1.0, 2.0, 3.0])
f = bl.compile(lambda x: (x.exp() * x).sum())
print([float(f(x)) for _ in range(3)])
"""
    command = [sys.executable, "-c", program]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    told = [run.communicate(timeout=60)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    assert told[0] == told[1] and len(list(folder.glob("*.code"))) == 1
