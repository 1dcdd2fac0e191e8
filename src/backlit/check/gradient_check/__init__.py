"""Gradients held against numerical differences, and the cause of every one that is wrong."""
