"""Values as people type them: ``-2``, ``1/3``, ``[[1, 2], [3, 4]]``, ``randn(3, 4)``, and numbers from files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import BacklitError
from ...graph import no_grad
from ...spelling import did_you_mean
from ...tensor import Tensor
from ..errors import ExpressionError
from ..record.capture import Capture
from .binding import check, setting
from .evaluate import MAX_ELEMENTS, Evaluator
from .expression import Call, Expression, children, names, one_line, parse
from .functions import CONSTANTS, Parameter

LONGEST = 100_000
"""Longer texts are refused; a file is the better place."""
MAX_BYTES = 64 * 1024 * 1024
_TABLES = (".csv", ".tsv", ".txt")

Array = NDArray[Any]


class ValueTextError(BacklitError, ValueError):
    """A text is not the value of a variable."""


class ValueFileError(BacklitError, ValueError):
    """A file does not hold numbers that can be used as a value."""


def read_value(text: str, rng: np.random.Generator | None = None) -> Array:
    """A number, a list, or an array made or loaded, from text.

    Args:
        text: a constant expression such as ``-2``, ``1/3`` or ``[[1, 2], [3, 4]]``; ``randn(3, 4)``, ``rand``,
            ``zeros``, ``ones``, ``arange``, ``eye`` with sizes; ``@data.csv``, ``weights.npy``; ``int([0, 2])``.
        rng: what random values are drawn with; always the same ones where it is left out.

    Returns:
        A float64 array; with ``int``, an int64 array; from ``.npy`` files, the array as it was saved.

    Raises:
        ExpressionError: it is something else; the message points at the place.
        ValueFileError: the file is not there, too large, or does not hold numbers.

    >>> read_value("[1, 1/4]")
    array([1.  , 0.25])
    """
    text = one_line(text)
    if text.startswith("@") or text.lower().endswith((".npy", *_TABLES)):
        return read_file(text.removeprefix("@"))
    expression = parse(text, limit=LONGEST)
    if isinstance(expression, Call) and expression.function in _MAKERS:
        return _made(text, expression, rng or np.random.default_rng(0))
    if isinstance(expression, Call) and expression.function == "int" and len(expression.arguments) == 1:
        return _whole(text, expression)
    return _computed(text, expression)


def _computed(text: str, expression: Expression) -> Array:
    for name in names(expression):
        if name.name not in CONSTANTS:
            raise ExpressionError("a value is a number, a list of numbers, or a file as in @data.csv", text, name.span)
    _refuse_makers(text, expression)
    check(text, expression, frozenset())
    constants = {name: Tensor(np.asarray(value)) for name, value in CONSTANTS.items()}
    with no_grad():
        return np.array(Evaluator(text, constants, Capture()).result(expression)._data)


def read_value_of(name: str, text: str, seed: int) -> Array:
    """As :func:`read_value`, for a variable: errors name it, and what is drawn at random depends on its name.

    Raises:
        ValueTextError: the text is no value.
        ValueFileError: the file is not there, too large, or does not hold numbers.
    """
    try:
        return read_value(text, generator(name, seed))
    except ExpressionError as error:
        raise ValueTextError(f"the value of {name} cannot be used: {error}") from None


def generator(name: str, seed: int) -> np.random.Generator:
    """What the random value of a variable is drawn with: two variables never get the same numbers."""
    return np.random.default_rng([seed, *name.encode()])


_MAKERS: dict[str, Callable[[np.random.Generator, tuple[int, ...]], Array]] = {
    "randn": lambda rng, sizes: np.asarray(rng.normal(size=sizes)),
    "rand": lambda rng, sizes: np.asarray(rng.uniform(size=sizes)),
    "zeros": lambda rng, sizes: np.zeros(sizes),
    "ones": lambda rng, sizes: np.ones(sizes),
    "arange": lambda rng, sizes: np.arange(sizes[0], dtype=np.float64),
    "eye": lambda rng, sizes: np.eye(sizes[0]),
}


def _whole(text: str, call: Call) -> Array:
    array = _computed(text, call.arguments[0])
    if np.any(array != np.rint(array)):
        raise ExpressionError("these are not whole numbers", text, call.arguments[0].span)
    return array.astype(np.int64)


def _made(text: str, call: Call, rng: np.random.Generator) -> Array:
    sizes = tuple(setting(text, call, Parameter("size", True, True), given) for given in call.arguments)
    if call.keywords or not all(isinstance(n, int) and n > 0 for n in sizes):
        raise ExpressionError("sizes are whole numbers above 0, as in randn(3, 4)", text, call.span)
    if call.function in ("arange", "eye") and len(sizes) != 1:
        raise ExpressionError(f"'{call.function}' takes one size", text, call.span)
    count = sizes[0] ** 2 if call.function == "eye" else int(np.prod([float(n) for n in sizes]))
    if count > MAX_ELEMENTS:
        raise ExpressionError(f"this would have {count:,} elements; the limit is {MAX_ELEMENTS:,}", text, call.span)
    return _MAKERS[call.function](rng, sizes)


def _refuse_makers(text: str, expression: Expression) -> None:
    """Arrays are made by a value as a whole, not inside another expression."""
    if isinstance(expression, Call) and expression.function in _MAKERS:
        raise ExpressionError(
            f"'{expression.function}' stands alone, as in x={expression.function}(3)", text, expression.span
        )
    for child in children(expression):
        _refuse_makers(text, child)


# -- files ------------------------------------------------------------------------------------------------------------


def read_file(name: str) -> Array:
    """The numbers in an ``.npy`` file, or in a text file with commas, semicolons, tabs or blanks between them.

    A first line of words names columns and is left out. One row, or one column, is a list; one number is a number.

    Raises:
        ValueFileError: see the message.
    """
    path = Path(os.path.expanduser(name))
    if not path.is_file():
        what = "is a folder" if path.is_dir() else f"is not there{did_you_mean(path.name, _beside(path))}"
        raise ValueFileError(f"the file {name!r} {what}.")
    if path.stat().st_size > MAX_BYTES:
        raise ValueFileError(f"the file {name!r} has {path.stat().st_size:,} bytes; the limit is {MAX_BYTES:,}.")
    array = _saved(path) if path.suffix.lower() == ".npy" else _table(path)
    if array.size > MAX_ELEMENTS:
        raise ValueFileError(f"the file {name!r} holds {array.size:,} numbers; the limit is {MAX_ELEMENTS:,}.")
    return array


def _beside(path: Path) -> list[str]:
    try:
        return os.listdir(path.parent)
    except OSError:
        return []


def _saved(path: Path) -> Array:
    try:
        array = np.load(path, allow_pickle=False, mmap_mode="r")
    except (ValueError, EOFError, OSError) as error:
        reason = "holds Python objects, or is no .npy file; save plain numbers with numpy.save"
        if "bject" not in str(error) and "pickle" not in str(error):
            reason = f"cannot be read as .npy: {str(error).rstrip('.')}"
        raise ValueFileError(f"the file {str(path)!r} {reason}.") from None
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiub":
        found = getattr(array, "dtype", "several arrays")
        raise ValueFileError(f"the file {str(path)!r} does not hold real numbers but {found}.")
    return array if array.size > MAX_ELEMENTS else np.array(array)


def _table(path: Path) -> Array:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueFileError(f"the file {str(path)!r} is not text in UTF-8; arrays are read from .npy files.") from None
    lines = [(i, _cells(line)) for i, line in enumerate(text.splitlines(), 1) if line.strip()]
    if lines and not any(_is_number(cell) for cell in lines[0][1]):
        del lines[0]
    if not lines:
        raise ValueFileError(f"the file {str(path)!r} holds no numbers.")
    width = len(lines[0][1])
    for at, cells in lines:
        _check_row(path, at, cells, width)
    rows = np.array([[float(cell) for cell in cells] for _, cells in lines])
    return rows.reshape(()) if rows.size == 1 else rows.reshape(-1) if 1 in rows.shape else rows


def _cells(line: str) -> list[str]:
    for mark in (",", ";", "\t"):
        if mark in line:
            return [cell.strip().strip('"') for cell in line.split(mark)]
    return line.split()


def _check_row(path: Path, at: int, cells: list[str], width: int) -> None:
    if len(cells) != width:
        raise ValueFileError(f"{path}, line {at}: {len(cells)} cells where the first row has {width}.")
    wrong = next((cell for cell in cells if not _is_number(cell)), None)
    if wrong is not None:
        raise ValueFileError(f"{path}, line {at}: {wrong[:40]!r} is not a number.")


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
