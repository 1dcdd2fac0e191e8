"""Every operation shared with PyTorch, at every float64 sample of PyTorch's own database: same results, same gradients.

``python tests/ops/test_opinfo.py`` prints how much was compared, what was left out and why, and every difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]

Applies = Callable[[Any], bool]
Table = list[tuple[str, Applies, str]]
"""Rows of (operation or "*", which samples, why)."""


def always(sample: Any) -> bool:
    return True


def _drops(sample: Any) -> bool:
    p, training = sample.kwargs.get("p", 0.5), sample.kwargs.get("training", True)
    return training and p not in (0.0, 1.0)


def _matrix_norm(sample: Any) -> bool:
    order = sample.kwargs.get("ord", sample.args[0] if sample.args else None)
    return order in (2, -2, "nuc") and sample.input.ndim > 1 and not isinstance(sample.kwargs.get("dim"), int)


RANDOM: Table = [
    *((name, always, "drawn from a generator") for name in ("bernoulli", "multinomial", "normal")),
    *((name, always, "drawn from a generator") for name in ("randn", "randint", "rand_like", "randn_like")),
    *((name, always, "drawn from a generator") for name in ("randint_like",)),
    *((name, always, "uninitialised memory") for name in ("empty", "empty_like", "new_empty")),
    *((f"nn.functional.dropout{d}", _drops, "drawn from a generator") for d in ("", "2d", "3d")),
    ("nn.functional.scaled_dot_product_attention", lambda s: s.kwargs.get("dropout_p", 0.0) > 0, "drops at random"),
]
"""Where the numbers cannot agree: shapes and dtypes are compared, values are not."""

EXPLAINED: Table = [
    ("norm", lambda s: "nuc" in s.args, "singular values are not computed; UnsupportedError says so"),
    ("linalg.norm", lambda s: _matrix_norm(s), "singular values are not computed; UnsupportedError says so"),
    ("nn.functional.interpolate", lambda s: s.kwargs.get("mode") == "bicubic", "UnsupportedError says so"),
    ("nn.functional.batch_norm", lambda s: s.input.ndim == 1, "a vector has no channels; PyTorch takes empty ones"),
]
"""Samples that are left out altogether."""

COARSE = {"nn.functional.hardsigmoid": 1e-7, "cov": 1e-6}
"""Relative tolerances other than 1e-9. PyTorch's hardsigmoid has a slope of 1/6 rounded to float32, and its cov adds up
float32 weights in float32."""

_COMPOSED = "one operation here; PyTorch composes it of several and saves what is between them"
SAVES_MORE: Table = [
    ("nn.functional.cross_entropy", always, _COMPOSED),
    ("nn.functional.scaled_dot_product_attention", always, _COMPOSED),
    ("nn.functional.hinge_embedding_loss", always, _COMPOSED),
    ("nn.functional.kl_div", always, _COMPOSED),
    ("nn.functional.l1_loss", always, _COMPOSED),
    ("nn.functional.instance_norm", always, "PyTorch works on a repeated copy of the running statistics"),
    ("kron", always, "PyTorch works on copies of its inputs"),
]
"""Inputs that may be overwritten before backward in PyTorch, but not here (Backlit raises, naming both lines)."""


def _number_operand(sample: Any) -> bool:
    operands = [sample.input, *sample.args]
    return len(operands) == 2 and any(isinstance(x, int) for x in operands) and not sample.kwargs


LENIENT: Table = [
    ("*", _number_operand, "Python numbers are operands too, on either side"),
    ("scatter", always, "the source is converted to the tensor's dtype"),
    ("scatter_add", always, "the source is converted to the tensor's dtype"),
    ("narrow", always, "a boolean counts as an index"),
]
"""Calls that PyTorch refuses and Backlit answers, on purpose."""


def row(table: Table, name: tuple[str, str], sample: Any) -> str | None:
    """The reason in the first row of a table that fits."""
    for operation, applies, reason in table:
        if operation in ("*", name[0]) and applies(sample):
            return reason
    return None


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Samples are small: handing them to several threads would take longer than computing them."""
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test an entry; the database is read only where these tests are selected, as that takes seconds."""
    if "entry" in metafunc.fixturenames:
        names = _shared() if "not peers" not in metafunc.config.option.markexpr else []
        metafunc.parametrize("entry", names, ids=["/".join(filter(None, name)) for name in names])


def _shared() -> list[tuple[str, str]]:
    try:
        import torch_opinfo
    except ImportError:
        return []
    return torch_opinfo.shared()


def compared(entry: tuple[str, str]) -> Any:
    import torch_opinfo

    return torch_opinfo.compare(
        entry,
        explained=lambda name, sample: row(EXPLAINED, name, sample),
        random=lambda name, sample: row(RANDOM, name, sample) is not None,
        tolerance=COARSE.get(entry[0], 1e-9),
    )


def test_equals_torch(entry: tuple[str, str]) -> None:
    outcome = compared(entry)
    assert not outcome.differences, "\n".join([f"{len(outcome.differences)} differences", *outcome.differences[:20]])


def test_refuses_what_torch_refuses(entry: tuple[str, str]) -> None:
    import torch_opinfo

    answered = [
        f"answers {torch_opinfo.describe(sample)}, where PyTorch says: {why}"
        for sample, why in torch_opinfo.compare_errors(entry)
        if row(LENIENT, entry, sample) is None
    ]
    assert not answered, "\n".join(answered)


def test_allows_the_writes_that_torch_allows(entry: tuple[str, str]) -> None:
    import torch_opinfo

    def left_out(name: tuple[str, str], sample: Any) -> bool:
        return any(row(table, name, sample) is not None for table in (SAVES_MORE, EXPLAINED, RANDOM))

    refused = list(torch_opinfo.compare_saved(entry, left_out))
    assert not refused, "\n".join(refused)


def test_the_tables_name_shared_operations() -> None:
    import torch_opinfo

    names = {name for name, _ in torch_opinfo.shared()} | {"*"}
    listed = {row[0] for table in (RANDOM, EXPLAINED, SAVES_MORE, LENIENT) for row in table} | set(COARSE)
    assert listed <= names
    assert len(names) >= 250, "fewer operations are found by name than there are"


if __name__ == "__main__":
    import torch_opinfo

    print(torch_opinfo.summary([compared(name) for name in torch_opinfo.shared()]))
