"""Loops: elementwise instructions and reductions over one index space, gathered, simplified and emitted."""
