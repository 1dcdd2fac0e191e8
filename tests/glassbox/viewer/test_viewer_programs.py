"""Elementwise operations as formulas: written down in Python, computed in the page, equal to the operations."""

from pathlib import Path

import numpy as np

import backlit as bl
from backlit.glassbox.viewer.bundle import bundle
from backlit.glassbox.viewer.programs import Operator, program, programs_of
from backlit.ops.definition import apply
from backlit.ops.elementwise import Elementwise
from backlit.ops.registry import REGISTRY

HERE = Path(__file__).parent
NO_FORMULA = {"erfinv", "floor_divide", "nan_to_num"}
"""The page says of these that it cannot compute them."""
SETTINGS = {
    "clamp": {"low": -1.0, "high": 0.5},
    "elu": {"alpha": 1.0, "scale": 1.5},
    "leaky_relu": {"negative_slope": 0.1},
    "softplus": {"beta": 2.0, "threshold": 20.0},
}


def elementwise():
    found = {entry.definition for entry in REGISTRY.values() if entry.definition is not None}
    return sorted((op for op in found if issubclass(op, Elementwise)), key=lambda op: op.name)


def test_formula():
    made = program(REGISTRY["mul"].definition, {})
    assert made["inputs"] == ["x", "y"] and made["value"] == ["mul", "x", "y"]
    assert made["reduction"] == "none" and made["pulls"] == {"x": ["gated", "$g", "y"], "y": ["gated", "$g", "x"]}


def test_equal_operations_share_a_formula_and_settings_are_kept():
    found = programs_of([Operator(1, "mul", {}), Operator(2, "mul", {}), Operator(3, "sum", {"axis": (0, 1)})])
    assert len(found["list"]) == 1 and found["of"] == {"1": 0, "2": 0}
    assert found["settings"] == {"3": {"axis": [0, 1]}}


def case(op, rng):
    """A formula with inputs, an upstream gradient, and what the library makes of them."""
    settings = SETTINGS.get(op.name, {})
    arrays = [op.draw(rng, (3, 2)).astype(np.float64) for _ in op.inputs]
    upstream = rng.normal(size=(3, 2))
    made = program(op, settings)
    leaves = [
        bl.tensor(array, requires_grad=name in made["pulls"]) for name, array in zip(op.inputs, arrays, strict=True)
    ]
    out = apply(op, tuple(leaves), settings)
    pulls = {}
    if out.requires_grad:
        out.backward(bl.tensor(upstream))
        pulls = {name: flat(leaf.grad) for name, leaf in zip(op.inputs, leaves, strict=True) if leaf.grad is not None}
    return {
        "name": op.name,
        "program": made,
        "inputs": [flat(array) for array in arrays],
        "upstream": flat(upstream),
        "value": flat(out),
        "pulls": pulls,
    }


def flat(x):
    return np.asarray(x.detach().numpy() if isinstance(x, bl.Tensor) else x, dtype=float).ravel().tolist()


def test_only_known_operations_have_no_formula():
    assert {op.name for op in elementwise() if program(op, SETTINGS.get(op.name, {})) is None} == NO_FORMULA


def test_page_computes_what_the_library_computes(browser):
    rng = np.random.default_rng(0)
    cases = [case(op, rng) for op in elementwise() if op.name not in NO_FORMULA]
    page = browser.new_page()
    page.add_script_tag(content=bundle(HERE / "js" / "compute.js"), type="module")
    results = page.evaluate("cases => globalThis.compute(cases)", cases)
    page.close()
    assert len(cases) > 60
    for made, result in zip(cases, results, strict=True):
        close = {"rtol": 1e-9, "atol": 1e-12, "err_msg": made["name"]}
        np.testing.assert_allclose(result["value"], made["value"], **close)
        for name, pull in made["pulls"].items():
            np.testing.assert_allclose(result["pulls"][name], pull, **close)
