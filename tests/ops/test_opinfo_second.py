"""Second derivatives of every operation shared with PyTorch, at the samples of PyTorch's own database.

``python tests/ops/test_opinfo_second.py`` prints how much was compared, what was left out and why.
"""

from __future__ import annotations

from typing import Any

import pytest
import test_opinfo as first

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]
one_thread = first.one_thread


def _at_zero(sample: Any) -> bool:
    return not sample.input.count_nonzero(-1).all() or sample.input.numel() == 0


def _float32_weights(sample: Any) -> bool:
    return getattr(sample.kwargs.get("aweights"), "requires_grad", False)


UNLIKE: first.Table = [
    ("linalg.norm", _at_zero, "NaN in PyTorch at the kink or without entries; 0 here, as the first derivative is"),
    ("cov", _float32_weights, "differences of sums that PyTorch makes in float32"),
]
"""Samples at which PyTorch's second derivative is another one, and why."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "entry" in metafunc.fixturenames:
        names = _entries() if "not peers" not in metafunc.config.option.markexpr else []
        metafunc.parametrize("entry", names, ids=["/".join(filter(None, name)) for name in names])


def _entries() -> list[tuple[str, str]]:
    try:
        import torch_second
    except ImportError:
        return []
    return [name for name in first._shared() if torch_second.applies(name)]


def compared(entry: tuple[str, str]) -> Any:
    import torch_second

    return torch_second.compare_second(
        entry,
        explained=lambda name, sample: first.row([*first.EXPLAINED, *UNLIKE], name, sample),
        random=lambda name, sample: first.row(first.RANDOM, name, sample) is not None,
        tolerance=first.COARSE.get(entry[0], 1e-9),
    )


def test_second_derivatives_equal_torch(entry: tuple[str, str]) -> None:
    outcome = compared(entry)
    assert not outcome.differences, "\n".join([f"{len(outcome.differences)} differences", *outcome.differences[:20]])


def test_the_table_names_operations_and_most_have_second_derivatives() -> None:
    entries = _entries()
    assert {name for name, _, _ in UNLIKE} <= {name for name, _ in entries}
    assert len(entries) >= 250


if __name__ == "__main__":
    import torch_opinfo

    print(torch_opinfo.summary([compared(name) for name in _entries()]))
