"""The viewer: a record as a page, a notebook's output, a static picture, and Graphviz source."""

from .dot import dot
from .notebook import mimebundle, widget
from .page import html
from .svg import svg

__all__ = ["dot", "html", "mimebundle", "svg", "widget"]
