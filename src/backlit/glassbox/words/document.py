"""A derivation as a document: equations with words between them, written as text, Markdown or LaTeX."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from . import figures
from . import terms as t
from .scripts import LATEX, LATEX_NUMBERS, NUMBERS, UNICODE

Form = Literal["text", "markdown", "latex"]


@dataclass(frozen=True)
class Numbers:
    """A term with its symbols replaced by their numbers."""

    term: t.Term


@dataclass(frozen=True)
class Value:
    """A number or an array."""

    value: Any


@dataclass(frozen=True)
class Code:
    """A piece of the user's program in place of a formula."""

    text: str


Side = t.Term | Numbers | Value | Code


@dataclass(frozen=True)
class Equation:
    """``a = b = c``, then the shapes it has: of the left side, and of the factors of a matrix product. One side alone
    is a name that ``note`` says the meaning of."""

    sides: tuple[Side, ...]
    shape: tuple[int, ...] | None = None
    factors: tuple[tuple[int, ...], ...] = ()
    note: str = ""

    def text(self) -> str:
        """One line of Unicode."""
        line = " = ".join(_text(side) for side in self.sides)
        if len(self.sides) == 1 and self.note:
            return f"{line}: {self.note}"
        return "   ".join(part for part in (line, self._shapes(figures.shape, ""), self.note) if part)

    def latex(self) -> str:
        """The same in LaTeX, without what surrounds it."""
        line = " = ".join(_latex(side) for side in self.sides)
        note = rf"\text{{{figures.latex_text(self.note)}}}" if self.note else ""
        if len(self.sides) == 1 and self.note:
            return rf"{line}\text{{: }}{note}"
        return r" \quad ".join(part for part in (line, self._shapes(figures.latex_shape, r" \, "), note) if part)

    def _shapes(self, written: Any, between: str) -> str:
        if not self.shape:
            return ""
        factors = between.join(f"({written(sizes)})" for sizes in self.factors)
        return f"({written(self.shape)})" + (f" = {factors}" if factors else "")


def _text(side: Side) -> str:
    match side:
        case Numbers(term):
            return NUMBERS.write(term)
        case Value(value):
            return figures.array(value)
        case Code(text):
            return text
    return UNICODE.write(side)


def _latex(side: Side) -> str:
    match side:
        case Numbers(term):
            return LATEX_NUMBERS.write(term)
        case Value(value):
            return figures.latex_array(value)
        case Code(text):
            return rf"\texttt{{{figures.latex_text(text)}}}"
    return LATEX.write(side)


@dataclass(frozen=True)
class Section:
    """Equations under a line of words."""

    heading: str
    equations: tuple[Equation, ...]


@dataclass
class Document:
    """Sections under a title."""

    title: str
    sections: list[Section] = field(default_factory=list)

    def add(self, heading: str, equations: Sequence[Equation]) -> None:
        """One section more, unless it is empty."""
        if equations:
            self.sections.append(Section(heading, tuple(equations)))

    def write(self, form: Form) -> str:
        """The document in one of its forms."""
        return {"text": self._text, "markdown": self._markdown, "latex": self._latex}[form]()

    def _text(self) -> str:
        lines = [self.title] if self.title else []
        for section in self.sections:
            lines += [section.heading] if section.heading else []
            indent = "  " if section.heading else ""
            lines += [indent + equation.text() for equation in section.equations]
        return "\n".join(lines)

    def _markdown(self) -> str:
        parts = [f"**{_marked(self.title)}**"] if self.title else []
        for section in self.sections:
            parts += [_marked(section.heading)] if section.heading else []
            parts += [f"$$\n{equation.latex()}\n$$" for equation in section.equations]
        return "\n\n".join(parts) + "\n"

    def _latex(self) -> str:
        parts = [rf"\textbf{{{figures.latex_text(self.title)}}}"] if self.title else []
        for section in self.sections:
            parts += [figures.latex_text(section.heading)] if section.heading else []
            lines = " \\\\\n".join(f"  & {equation.latex()}" for equation in section.equations)
            parts.append(f"\\begin{{align*}}\n{lines}\n\\end{{align*}}")
        return "\n\n".join(parts) + "\n"


def merged(documents: Sequence[Document]) -> Document:
    """Several documents as one: sections of one heading together, in which no equation is repeated."""
    together = Document(documents[0].title)
    headings = dict.fromkeys(section.heading for document in documents for section in document.sections)
    for heading in headings:
        every = [e for document in documents for s in document.sections if s.heading == heading for e in s.equations]
        together.add(heading, list({equation.text(): equation for equation in every}.values()))
    return together


def _marked(text: str) -> str:
    """Words with Markdown's special characters made harmless."""
    for c in "\\*_`<[":
        text = text.replace(c, "\\" + c)
    return text
