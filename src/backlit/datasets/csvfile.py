"""Tables from CSV files: numbers as they are, text as one column per category."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .data import Data, Task
from .errors import DataError, locate, shown
from .split import split_by_class, split_rows
from .table import Table, read_table

_MISSING = {"", "?", "na", "n/a", "nan", "null"}
_MAX_CATEGORIES = 256
_MAX_INTEGER_CLASSES = 20
_FLOAT32_MAX = float(np.finfo(np.float32).max)

Columns = tuple[list[str], NDArray[np.float32]]


def read_csv(
    path: str | os.PathLike[str],
    target: str,
    *,
    task: Task | None = None,
    drop: Collection[str] = (),
    categorical: Collection[str] = (),
    delimiter: str = ",",
    test_fraction: float = 0.2,
    seed: int = 0,
) -> Data:
    """A table from a CSV file in UTF-8 whose first line names the columns.

    **Features.** A column of numbers becomes one feature. A column of text becomes one feature per category, 1 where
    the row is of that category and 0 elsewhere, named `column=category` in alphabetical order. A column of which more
    than half the cells are numbers is meant to be numeric, so any other cell in it is an error.

    **Target.** Text, and whole numbers with at most 20 distinct values, are classes, numbered in alphabetical or
    numerical order; other numbers are for regression. `task` overrides the rule.

    **Split.** Rows are shuffled, and for classification each class is split in the same proportion.

    Args:
        path: the file; a leading `~` stands for the home folder.
        target: the name of the column to predict.
        task: `"classification"` or `"regression"`, or None for the rule above.
        drop: columns to leave out.
        categorical: columns of numbers that are codes, to be treated as text.
        delimiter: the character between cells.
        test_fraction: the share of rows kept for testing, 0 <= share < 1.
        seed: the same seed gives the same split.

    Returns:
        Data with float32 features (N, D), and int64 classes or float32 targets (N,).

    Raises:
        DataError: the file is missing, is not UTF-8 or not CSV; a column is unknown, unnamed or named twice; a line
            has too many or too few cells; a cell is missing (empty, ?, NA, N/A, NaN or null), is no number among
            numbers, or is not finite in float32; a text column has more than 256 categories; there is no feature
            column, or a single class.

    Example:
        >>> import tempfile, pathlib
        >>> folder = tempfile.TemporaryDirectory()
        >>> path = pathlib.Path(folder.name, "fruit.csv")
        >>> _ = path.write_text("grams,colour,fruit\\n150,red,apple\\n120,yellow,lemon\\n170,green,apple\\n")
        >>> data = read_csv(path, target="fruit", test_fraction=0)
        >>> data.feature_names
        ('grams', 'colour=green', 'colour=red', 'colour=yellow')
        >>> data.classes, data.task
        (('apple', 'lemon'), 'classification')
        >>> folder.cleanup()
    """
    table = read_table(locate(path), delimiter)
    _check_arguments(table, target, task, drop, categorical)
    names = [name for name in table.columns if name != target and name not in drop]
    if not names:
        raise DataError(f"{table.path}: no feature column is left beside {target!r}; keep at least one.")
    for name in [*names, target]:
        _refuse_missing(table, name)
    feature_names, x = _features(table, names, categorical)
    y, classes = _target(table, target, task)
    rng = np.random.default_rng(seed)
    if classes is None:
        train, test = split_rows(len(y), test_fraction, rng)
    else:
        train, test = split_by_class(y, test_fraction, rng)
    return Data(
        x[train], y[train], x[test], y[test], classes=classes, feature_names=tuple(feature_names), image_shape=None,
        task="regression" if classes is None else "classification", name=table.path.stem,
        source=f"The file {table.path.name}, read with target {target!r}.",
    )  # fmt: skip


def _check_arguments(
    table: Table, target: str, task: str | None, drop: Collection[str], categorical: Collection[str]
) -> None:
    if task not in (None, "classification", "regression"):
        raise DataError(f"task is {task!r}; give 'classification', 'regression' or None.")
    table.require(target, "the target")
    for role, chosen in (("drop", drop), ("categorical", categorical)):
        if isinstance(chosen, str):
            raise DataError(f"{role} is the text {chosen!r}; give a list of names, {role}=[{chosen!r}].")
        for name in chosen:
            table.require(name, role)
        if target in chosen:
            raise DataError(f"the target {target!r} is also in {role}; take it out there (task= decides its kind).")


def _refuse_missing(table: Table, name: str) -> None:
    for row, cell in enumerate(table.columns[name]):
        if cell.lower() in _MISSING:
            what = f"holds {cell!r} for a missing value" if cell else "is empty"
            raise DataError(
                f"{table.at(row)}: column {name!r} {what}; fill it in, remove the line, or leave the column out."
            )


def _features(table: Table, names: Sequence[str], categorical: Collection[str]) -> Columns:
    columns: list[Columns] = []
    for name in names:
        numbers = None if name in categorical else _numbers(table, name, f"or pass categorical=[{name!r}]")
        columns.append(_one_hot(table, name) if numbers is None else ([name], _float32(table, name, numbers)[:, None]))
    feature_names = [name for group, _ in columns for name in group]
    return feature_names, np.concatenate([values for _, values in columns], axis=1)


def _numbers(table: Table, name: str, otherwise: str) -> list[float] | None:
    """The column as numbers, or None for a column of text; a few strays among numbers are an error."""
    cells = table.columns[name]
    numbers = [_number(cell) for cell in cells]
    strays = [row for row, number in enumerate(numbers) if number is None]
    if len(strays) * 2 >= len(cells):
        return None
    if strays:
        raise DataError(
            f"{table.at(strays[0])}: column {name!r} holds {shown(cells[strays[0]])} where most cells are numbers; "
            f"correct it, {otherwise}."
        )
    return [number for number in numbers if number is not None]


def _number(cell: str) -> float | None:
    try:
        number = float(cell)
    except ValueError:
        return None
    return None if "_" in cell else number  # float() reads "1_000", which in a table is a code and no number


def _float32(table: Table, name: str, numbers: Sequence[float]) -> NDArray[np.float32]:
    values = np.array(numbers)
    outside = np.flatnonzero(~(np.abs(values) <= _FLOAT32_MAX))
    if outside.size:
        row = int(outside[0])
        raise DataError(
            f"{table.at(row)}: column {name!r} holds {shown(table.columns[name][row])}, which float32 cannot hold "
            "(it ends at 3.4e38); correct it or use a larger unit."
        )
    return values.astype(np.float32)


def _one_hot(table: Table, name: str) -> Columns:
    cells = table.columns[name]
    categories = sorted(set(cells))
    if len(categories) > _MAX_CATEGORIES:
        raise DataError(
            f"{table.path}: column {name!r} has {len(categories)} different texts, too many for categories "
            f"(at most {_MAX_CATEGORIES}); leave it out with drop=[{name!r}]."
        )
    codes = _codes(cells, categories)
    return [f"{name}={category}" for category in categories], np.eye(len(categories), dtype=np.float32)[codes]


def _target(table: Table, name: str, task: Task | None) -> tuple[NDArray[Any], tuple[str, ...] | None]:
    """The targets, and the names of the classes unless they are for regression."""
    numbers = _numbers(table, name, "or leave the line out")
    if task == "regression" and numbers is None:
        row = next(row for row, cell in enumerate(table.columns[name]) if _number(cell) is None)
        raise DataError(
            f"{table.at(row)}: regression needs numbers and the target {name!r} holds "
            f"{shown(table.columns[name][row])}; choose another target or task='classification'."
        )
    keys: Sequence[Any] = table.columns[name]
    if numbers is not None:
        values = _float32(table, name, numbers)
        if (task or _rule(numbers)) == "regression":
            return values, None
        keys = [_exact(cell) for cell in keys]
    classes = sorted(set(keys))
    if len(classes) == 1:
        raise DataError(
            f"{table.path}: every row has the same target, {name}={str(classes[0])!r}; "
            "classification needs two classes, so add rows of another or choose another target."
        )
    return _codes(keys, classes), tuple(map(str, classes))


def _rule(numbers: Sequence[float]) -> Task:
    whole = all(number.is_integer() for number in numbers)
    return "classification" if whole and len(set(numbers)) <= _MAX_INTEGER_CLASSES else "regression"


def _codes(keys: Sequence[Any], ordered: Sequence[Any]) -> NDArray[np.int64]:
    code = {key: number for number, key in enumerate(ordered)}
    return np.array([code[key] for key in keys], dtype=np.int64)


def _exact(cell: str) -> int | float:
    """The number in a cell, so that 1, 1.0 and 01 are one class, and large integers next to one another are two."""
    try:
        return int(cell)
    except ValueError:
        number = float(cell)
        return int(number) if number.is_integer() else number
