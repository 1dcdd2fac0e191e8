"""Keeps the doctest collection away from helpers that import PyTorch or JAX."""

collect_ignore = ["jax_by_numpy.py", "jax_programs.py", "jax_uses.py", "torch_opinfo.py", "torch_second.py"]
