"""The viewer: a record as a page, a notebook's output, a static picture, and Graphviz source."""

from .page import html

__all__ = ["html"]
