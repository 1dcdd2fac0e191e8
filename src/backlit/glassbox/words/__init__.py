"""The record in words and formulas: tables, the chain rule written out, paragraphs."""

from .derivation import derivation, document
from .document import Document, Equation, Section

__all__ = ["Document", "Equation", "Section", "derivation", "document"]
