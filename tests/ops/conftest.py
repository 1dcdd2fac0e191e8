"""Keeps the doctest collection away from helpers that import PyTorch."""

collect_ignore = ["torch_opinfo.py"]
