"""Every operation shared with PyTorch, at every float64 sample of PyTorch's own database: same results, same gradients."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]

RANDOM = {
    *("bernoulli", "empty", "empty_like", "multinomial", "new_empty", "normal"),
    *("rand_like", "randint", "randint_like", "randn", "randn_like"),
    *("nn.functional.dropout", "nn.functional.dropout1d", "nn.functional.dropout2d", "nn.functional.dropout3d"),
    *("nn.functional.alpha_dropout", "nn.functional.feature_alpha_dropout"),
}
"""Results come from a generator of random numbers, or from uninitialised memory: shape and dtype are compared."""

EXPLAINED: list[tuple[str, Any, str]] = [
    # operation, which samples (a function of the sample), why they are left out
]
"""Differences that are meant, or that Backlit does not support and says so."""


def explained(name: tuple[str, str], sample: Any) -> str | None:
    for operation, applies, reason in EXPLAINED:
        if operation == name[0] and applies(sample):
            return reason
    return None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test an entry; the database is read only where these tests are selected, as that takes seconds."""
    if "entry" in metafunc.fixturenames:
        selected = "not peers" not in metafunc.config.option.markexpr
        names = _shared() if selected else []
        metafunc.parametrize("entry", names, ids=["/".join(filter(None, name)) for name in names])


def _shared() -> list[tuple[str, str]]:
    try:
        import torch_opinfo
    except ImportError:
        return []
    return torch_opinfo.shared()


TOTALS = {"entries": 0, "samples": 0, "calls": 0}


def test_equals_torch(entry: tuple[str, str]) -> None:
    import torch_opinfo

    outcome = torch_opinfo.compare(entry, explained, entry[0] in RANDOM)
    for key, n in (("entries", 1), ("samples", outcome.samples), ("calls", outcome.compared)):
        TOTALS[key] += n
    assert not outcome.differences, "\n".join([f"{len(outcome.differences)} differences", *outcome.differences[:20]])


def test_refuses_what_torch_refuses(entry: tuple[str, str]) -> None:
    import torch_opinfo

    answered = [call for call in torch_opinfo.compare_errors(entry)]
    assert not answered, "\n".join(f"answers {call}, where PyTorch says: {why}" for call, why in answered)


def test_every_exception_is_needed() -> None:
    """An entry of the table that no sample meets, or a name that is not shared, is out of date."""
    torch_opinfo = pytest.importorskip("torch_opinfo")
    names = {name for name, _ in torch_opinfo.shared()}
    assert names >= {operation for operation, _, _ in EXPLAINED}
    assert names >= RANDOM


if __name__ == "__main__":
    import torch_opinfo

    print(torch_opinfo.summary([torch_opinfo.compare(n, explained, n[0] in RANDOM) for n in torch_opinfo.shared()]))
