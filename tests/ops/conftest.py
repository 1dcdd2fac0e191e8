"""Keeps the doctest collection away from helpers that import PyTorch or JAX."""

collect_ignore = ["jax_programs.py", "torch_opinfo.py", "torch_second.py"]
