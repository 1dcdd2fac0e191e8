"""Every primitive that ``jax_by_numpy`` computes equals XLA's, with every setting that derivatives use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(autouse=True)
def jax() -> Iterator[Any]:
    """JAX with float64 turned on for the test only."""
    found = pytest.importorskip("jax")
    before = found.config.jax_enable_x64
    found.config.update("jax_enable_x64", True)
    yield found
    found.config.update("jax_enable_x64", before)


def applied(jaxpr: Any) -> Iterator[str]:
    """The names of the primitives in a program, and of those in programs inside it."""
    for equation in jaxpr.eqns:
        inner = equation.params.get("jaxpr", equation.params.get("call_jaxpr"))
        if inner is None:
            yield equation.primitive.name
        else:
            yield from applied(inner.jaxpr)


def test_every_primitive_equals_that_of_xla(jax: Any) -> None:
    import jax_by_numpy
    from jax.extend.core import jaxpr_as_fun
    from jax_uses import USES, X

    seen: set[str] = set()
    for name, use in USES.items():
        program = jax.make_jaxpr(use)(X)
        seen.update(applied(program.jaxpr))
        theirs, ours = jax.jit(jaxpr_as_fun(program))(X), jax_by_numpy.evaluate(program, X)
        for a, b in zip(ours, map(np.asarray, theirs), strict=True):
            assert (a.shape, a.dtype) == (b.shape, b.dtype), name
            np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-13, err_msg=name)
    assert seen == set(jax_by_numpy.COMPUTED)


def test_an_unknown_primitive_is_named(jax: Any) -> None:
    import jax_by_numpy

    with pytest.raises(NotImplementedError, match="JAX applied lgamma; add it to COMPUTED"):
        jax_by_numpy.evaluate(jax.make_jaxpr(jax.lax.lgamma)(1.0), 1.0)
