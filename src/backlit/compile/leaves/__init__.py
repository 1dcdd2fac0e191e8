"""Kernels written by hand, as instructions: what each takes and gives, and the function that computes it."""
