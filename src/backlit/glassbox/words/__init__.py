"""The record in words and formulas: tables, the chain rule written out, paragraphs."""

from .derivation import derivation, document
from .document import Document, Equation, Section
from .paragraph import paragraph
from .table import Tables

__all__ = ["Document", "Equation", "Section", "Tables", "derivation", "document", "paragraph"]
