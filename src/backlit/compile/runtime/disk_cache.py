"""Compiled code, and what steps need to know of theirs, kept on disk: the second run of a program starts at once.

An entry is named by a hash of everything that it follows from, written to a temporary file and moved into place, and
carries a checksum; what is damaged, foreign or cut short is ignored and written again. Because the entries are
*executed*, the folder must belong to the user and be writable by nobody else. Trouble with the disk is never an error:
without the cache the code is made anew.

``BACKLIT_CACHE`` names another folder; ``BACKLIT_CACHE=0`` turns the cache off.
"""

from __future__ import annotations

import hashlib
import os
import stat
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

import llvmlite
import llvmlite.binding as llvm

from ..codegen.target import Target, host_target

LIMIT = 256 << 20
"""Bytes of entries that are kept; the ones not used for longest go first."""

_LOOK_EVERY = 16
"""A process looks through the folder whenever it has written this part of the limit, not at each entry: looking takes
longer the more entries there are."""

_written: dict[Path, int] = {}
"""Bytes that this process has written to each folder since it last looked through it."""

CODE, STEP, SOURCES = KINDS = ".code", ".step", ".sources"
"""Kinds of entries, by the ends of their names: machine code; what a call of a step needs to know of its code; the hash
of the compiler's source files as they lay on the disk."""

_MAGIC = b"backlit code 1\n"
_UNFINISHED = ".new"


def key_of(text: str, target: Target | None = None) -> str:
    """The name of the entry for what a text describes: a hash of the text, of the library's own code that turns it into
    machine code, the versions and the processor that it is made for."""
    from ... import __version__

    target = target or host_target()
    parts = (
        text,
        compiler_hash(),
        __version__,
        llvmlite.__version__,
        ".".join(map(str, llvm.llvm_version_info)),
        target.triple,
        target.cpu,
        target.features,
        str(struct.calcsize("P")),
    )
    digest = hashlib.sha256()
    for part in parts:
        encoded = part.encode()
        digest.update(len(encoded).to_bytes(8, "little"))
        digest.update(encoded)
    return digest.hexdigest()


@cache
def compiler_hash() -> str:
    """A hash of the compiler's source files, and of what constants are worked out by: what a text becomes depends on
    them, also between two versions.

    Reading them all takes longer than anything else that a later process does to find its code, so that the hash is
    kept for files of these sizes and times of change, by which Python, too, tells whether it has compiled a file.
    """
    library = str(Path(__file__).parents[2]) + os.sep
    constants = os.path.join(library, "ops", "elementwise.py")
    states = [*sorted(_states(os.path.join(library, "compile"))), _state(constants, os.stat(constants))]
    key = hashlib.sha256(repr(states).encode()).hexdigest()
    found = kept(key, SOURCES)
    if found is None:
        found = _hash_of_contents([path for path, *_ in states], library).encode()
        keep(key, SOURCES, found)
    return found.decode()


def _states(folder: str) -> Iterator[tuple[str, int, int]]:
    """The paths of the source files in a folder and those below, with their sizes and times of change."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(".py"):
                yield _state(entry.path, entry.stat())
            elif entry.name != "__pycache__" and entry.is_dir(follow_symlinks=False):
                yield from _states(entry.path)


def _state(path: str, about: os.stat_result) -> tuple[str, int, int]:
    return path, about.st_size, about.st_mtime_ns


def _hash_of_contents(paths: list[str], library: str) -> str:
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb", buffering=0) as file:
            digest.update(path.removeprefix(library).encode() + b"\n" + file.read())
    return digest.hexdigest()


def cached(text: str, make: Callable[[], bytes], target: Target | None = None) -> bytes:
    """The object code for what a text describes, from the disk or made by ``make`` and kept."""
    if cache_folder() is None:
        return make()
    key = key_of(text, target)
    code = kept(key, CODE)
    if code is None:
        code = make()
        keep(key, CODE, code)
    return code


def kept(key: str, kind: str) -> bytes | None:
    """The content of an entry; None where there is none, it is not whole or there is no cache."""
    folder = cache_folder()
    return None if folder is None else read(folder, key, kind)


def keep(key: str, kind: str, content: bytes) -> None:
    """Keep an entry, if there is a cache."""
    folder = cache_folder()
    if folder is not None:
        write(folder, key, content, kind)


def cache_folder() -> Path | None:
    """Where code is kept; made if need be. None where the cache is off or the folder is not safe or not to be had."""
    given = os.environ.get("BACKLIT_CACHE")
    if given == "0":
        return None
    folder = Path(given) if given else _default_folder()
    with suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if _is_safe(folder):
            return folder
    return None


def _default_folder() -> Path:
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "backlit" / "code"


def _is_safe(folder: Path) -> bool:
    """Whether nobody but the user can put code there. (On Windows a user's folders are the user's own.)"""
    if not hasattr(os, "getuid"):
        return True
    about = folder.stat()
    return about.st_uid == os.getuid() and not about.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def read(folder: Path, key: str, kind: str = CODE) -> bytes | None:
    """The content of an entry; None where there is none or it is not whole."""
    path = folder / (key + kind)
    try:
        whole = path.read_bytes()
    except OSError:
        return None
    head = len(_MAGIC) + 32
    content = whole[head:]
    if not whole.startswith(_MAGIC) or whole[len(_MAGIC) : head] != _checksum(key + kind, content):
        return None
    with suppress(OSError):
        os.utime(path)  # used now
    return content


def write(folder: Path, key: str, content: bytes, kind: str = CODE) -> None:
    """Keep an entry; others see it whole or not at all."""
    try:
        handle, name = tempfile.mkstemp(dir=folder, suffix=_UNFINISHED)
    except OSError:
        return
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(_MAGIC + _checksum(key + kind, content) + content)
        os.replace(name, folder / (key + kind))
    except OSError:
        with suppress(OSError):
            os.unlink(name)
        return
    if _is_due(folder, len(content)):
        _shrink(folder)


def _is_due(folder: Path, size: int) -> bool:
    """Whether to look through the folder after another entry: after a process's first, then at times."""
    written = _written.get(folder, LIMIT) + size
    due = written * _LOOK_EVERY >= LIMIT
    _written[folder] = 0 if due else written
    return due


def _checksum(name: str, content: bytes) -> bytes:
    return hashlib.sha256(name.encode() + content).digest()


def _shrink(folder: Path) -> None:
    """Remove the entries not used for longest until what is left is within the limit."""
    entries = []
    with suppress(OSError), os.scandir(folder) as found:
        for entry in found:
            with suppress(OSError):
                about = entry.stat()
                if entry.name.endswith(KINDS):
                    entries.append((about.st_mtime, about.st_size, entry.path))
                elif entry.name.endswith(_UNFINISHED) and time.time() - about.st_mtime > 3600:
                    os.unlink(entry.path)  # left by a process that was killed
    total = sum(size for _, size, _ in entries)
    for _, size, path in sorted(entries):
        if total <= LIMIT:
            break
        with suppress(OSError):
            os.unlink(path)
        total -= size
