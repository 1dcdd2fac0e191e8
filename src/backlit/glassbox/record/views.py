"""What can be made of a record: words, formulas, pictures, files, reruns. Each is written elsewhere and imported when
it is asked for; these are the doors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from ..contributions import Contributions
    from ..debugger import Debugger
    from ..jacobian import Jacobian
    from ..words import Tables
    from .model import Record


class Views:
    """The doors of a :class:`~backlit.glassbox.record.Record`."""

    # -- words and formulas ---------------------------------------------------------------------------------------

    def derivation(
        self: Any, x: Any, *, form: Literal["text", "markdown", "latex"] = "text", full: bool = False
    ) -> str:
        """The chain rule for a node, written out: symbols first, then numbers; between arrays in δ notation.

        Args:
            x: a node, its name or number, or the tensor.
            form: ``"text"``, ``"markdown"`` or ``"latex"``.
            full: with the forward pass and every array in full.

        >>> import backlit as bl
        >>> w = bl.tensor(1.0, requires_grad=True)
        >>> prediction = w * 1.0
        >>> s = prediction - 2.0
        >>> loss = s**2
        >>> "(−2) · 1 · 1 = −2" in bl.explain(loss).derivation("w")
        True
        """
        from ..words import derivation

        return derivation(self, x, form=form, full=full)

    def explain(self: Any, node: Any) -> str:
        """One paragraph in plain words: what computed a value, what its gate does to gradients, and what that did here.

        Args:
            node: a node, its name or number, or the tensor.

        >>> import backlit as bl
        >>> w = bl.tensor(3.0, requires_grad=True)
        >>> bl.explain(w * 2.0).explain("w").split(". ")[1]
        'The gradient here is 2; it came from `mul`'
        """
        from ..words import paragraph

        return paragraph(self, node)

    def tables(self: Any, module: str | None = None, *, full: bool = False) -> Tables:
        """The forward pass, the local gradients and the backward pass as tables, to be printed.

        Args:
            module: only what was computed inside this module.
            full: every operation, also of a large record, which is shown module by module otherwise.

        Raises:
            RecordError: nothing was computed in that module.
        """
        from ..words import Tables

        return Tables(self, module, full)

    def __str__(self) -> str:
        return str(self.tables())

    def __rich__(self) -> Any:
        return self.tables().__rich__()

    def contributions(self: Any, x: Any, top: int = 10) -> Contributions:
        """The gradient of a node split by path from the result; the ``top`` largest where there are many."""
        from ..contributions import contributions

        return contributions(self, x, top)

    def jacobian(self: Any, node: Any, input: Any) -> Jacobian:
        """How a node depends on an earlier one: the matrix where it is small, its structure where it is large."""
        from ..jacobian import jacobian

        return jacobian(self, node, input)

    # -- pictures -------------------------------------------------------------------------------------------------

    def html(self: Any, path: str | Path | None = None, *, title: str | None = None) -> str | None:
        """The record as one page that needs nothing else: both passes drawn, played and stepped through.

        Args:
            path: where to write it; None returns the text.
            title: shown above the graph; the record's own by default.
        """
        from ..viewer import html

        return html(self, path, title=title)

    def svg(self: Any, *, title: str | None = None) -> str:
        """The computational graph as a still picture, values above the lines and gradients below."""
        from ..viewer import svg

        return svg(self, title=title)

    def dot(self: Any, *, title: str | None = None) -> str:
        """The computational graph in Graphviz' language."""
        from ..viewer import dot

        return dot(self, title=title)

    def widget(self: Any, *, title: str | None = None, height: int = 560) -> Any:
        """The viewer as a Jupyter widget.

        Raises:
            ModuleNotFoundError: anywidget is not installed (``pip install 'backlit[notebook]'``).
        """
        from ..viewer import widget

        return widget(self, title=title, height=height)

    def _repr_mimebundle_(self: Any, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        """What a notebook shows: a still picture, and the live viewer where anywidget is installed."""
        from ..viewer import mimebundle

        return mimebundle(self)

    # -- files and reruns -----------------------------------------------------------------------------------------

    def to_dict(self: Any, inline: bool = True) -> dict[str, Any]:
        """The record as JSON can hold it (docs/record.md): arrays as far as a page can show them, or (``inline=False``)
        by their statistics only."""
        from .schema import statistics_only, to_dict

        return to_dict(self) if inline else to_dict(self, statistics_only)

    def save(self: Any, path: str | Path) -> None:
        """Write the record to a file, for ``bl.load_record``: JSON and safetensors (docs/record.md).

        Raises:
            RecordError: the file cannot be written, or an operation has a setting that no file can hold.
        """
        from .file import save_record

        save_record(self, path)

    def rerun(self: Any, *, values: Any = None, upstream: Any = None, seed: Any = None) -> Record:
        """The computation and its backward pass once more, with edits; see :func:`backlit.glassbox.record.rerun`."""
        from .replay import rerun

        return rerun(self, values=values, upstream=upstream, seed=seed)

    def debugger(self: Any) -> Debugger:
        """Step through both passes, stop at conditions, look, edit and go back: a debugger at the start."""
        from ..debugger import Debugger

        return Debugger(self)
