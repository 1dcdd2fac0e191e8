"""Reading a CSV file into named columns of text, each cell with its line number."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..spelling import did_you_mean
from .errors import DataError, shown, unreadable

_OTHER_DELIMITERS = {";": "';'", "\t": "'\\t'", "|": "'|'", ",": "','"}


@dataclass(frozen=True)
class Table:
    """The text of a CSV file: `columns[name][i]` was found in the record that begins on line `lines[i]`."""

    path: Path
    columns: dict[str, list[str]]
    lines: list[int]

    def at(self, row: int) -> str:
        """The place of a row, to begin an error message with."""
        return f"{self.path}, line {self.lines[row]}"

    def require(self, name: str, role: str) -> None:
        """Refuse a name that is no column.

        Raises:
            DataError: with the names that resemble it, and the columns there are.
        """
        if name in self.columns:
            return
        columns = shown(", ".join(self.columns), limit=200)
        raise DataError(
            f"{self.path}: there is no column {name!r} for {role}{did_you_mean(str(name), self.columns)}; "
            f"the columns are {columns}{self._header_hint()}."
        )

    def _header_hint(self) -> str:
        only = next(iter(self.columns))
        for mark, written in _OTHER_DELIMITERS.items():
            if len(self.columns) == 1 and mark in only:
                return f" (if {written} separates them, pass delimiter={written})"
        if all(_looks_numeric(name) for name in self.columns):
            return " (these look like values: the first line must name the columns)"
        return ""


def read_table(path: Path, delimiter: str) -> Table:
    """The columns of a CSV file in UTF-8 whose first line names them.

    Quoted cells may hold delimiters and line ends. Spaces around a cell do not count, nor do blank lines.

    Raises:
        DataError: the file cannot be read or decoded, is empty, has a broken quote, a line with too many or too few
            cells, or columns without a name or with the same one.
    """
    if not isinstance(delimiter, str) or len(delimiter) != 1 or delimiter in '"\r\n':
        raise DataError(
            f"delimiter is {delimiter!r}; give the one character that separates the cells, for example ','."
        )
    records = _records(_text(path), path, delimiter)
    _, header = next(records, (0, []))
    if not header:
        raise DataError(f"{path}: the file is empty; give a CSV file with a header line.")
    _check_header(header, path)
    lines, rows = [], []
    for line, cells in records:
        if len(cells) != len(header):
            raise DataError(_ragged(path, line, len(cells), len(header)))
        lines.append(line)
        rows.append(cells)
    if not rows:
        raise DataError(f"{path}: there is a header and no line of data below it; give a file with data.")
    return Table(
        path, {name: list(column) for name, column in zip(header, zip(*rows, strict=True), strict=True)}, lines
    )


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}, line {line}: byte {raw[error.start]:#04x} is not UTF-8 text; save the file as UTF-8."
        ) from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise DataError(f"{path}, line {line}: there is a null byte, so this is no UTF-8 text; save the file as UTF-8.")
    return text


def _records(text: str, path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Each record that is not blank, with the line it begins on."""
    import csv

    # Without `strict`, a quote that is never closed would swallow the rest of the file without a word.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = [cell.strip() for cell in next(reader)]
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(f"{path}, line {line}: not valid CSV ({error}); check the quotes there.") from error
        if cells not in ([], [""]):
            yield line, cells


def _check_header(header: list[str], path: Path) -> None:
    for position, name in enumerate(header, start=1):
        if not name:
            raise DataError(
                f"{path}: column {position} has no name; name it in the first line, or, "
                "if it only counts the rows, write the file without it."
            )
        if name in header[: position - 1]:
            first = header.index(name) + 1
            raise DataError(f"{path}: columns {first} and {position} are both named {name!r}; rename one.")


def _ragged(path: Path, line: int, found: int, wanted: int) -> str:
    cause = "quote the cells that contain the delimiter" if found > wanted else "fill in the missing cells"
    return f"{path}, line {line}: {_cells(found)} where the header names {wanted}; {cause}."


def _cells(count: int) -> str:
    return "1 cell" if count == 1 else f"{count} cells"


def _looks_numeric(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
