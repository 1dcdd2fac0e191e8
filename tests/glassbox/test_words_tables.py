"""A record as tables and as paragraphs: the numbers of both passes, and what the gates did."""

import numpy as np
import pytest
from rich.console import Console

import backlit as bl
from backlit import nn
from backlit.errors import RecordError


def leaf(value):
    return bl.tensor(value, dtype=bl.float64, requires_grad=True)


def rows(text, section):
    """The cells of one table, by the first column."""
    body = text.split(section)[1].split("\n\n")[1].splitlines()[2:]
    return {line.split()[0]: [cell.strip() for cell in line.split("   ") if cell.strip()] for line in body}


def test_three_tables_of_the_lecture():
    x, y, z = leaf(-2.0), leaf(5.0), leaf(-4.0)
    q = x + y
    f = q * z
    text = str(bl.explain(f))
    assert text.startswith("f = −12: 2 operations, 3 leaves")
    assert rows(text, "Forward pass")["q"] == ["q", "x + y", "scalar", "3"]
    assert rows(text, "Forward pass")["x"] == ["x", "variable", "scalar", "−2"]
    assert "∂f/∂q            −4" in text and "∂f/∂z            3" in text and "∂q/∂x            1" in text
    back = rows(text, "Backward pass")
    assert back["f"] == ["f", "1", "−4 → q", "swaps"]
    assert back["q"] == ["q", "−4", "−4 → x", "distributes"]
    assert back["z"] == ["z", "3", ".grad", "variable"]


def blocks(count):
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x):
            return x + self.second(bl.relu(self.first(x)) * 2)

    bl.manual_seed(0)
    net = nn.Sequential(*[Block() for _ in range(count)])
    return bl.explain(net(bl.randn(3, 4)).sum())


def test_large_records_module_by_module():
    rec = blocks(10)
    text = str(rec)
    assert "By module" in text and "Local gradients" not in text
    assert len(text.splitlines()) < 25
    assert "print(rec.tables('net.0'))" in text and "rec.tables(full=True)" in text
    inside = str(rec.tables("net.3"))
    assert "3.first.linear" in inside and "Local gradients" in inside and "4.first.linear" not in inside
    assert inside == str(rec.tables("3"))  # the name of the whole network may be left out
    assert "9.first.linear" in str(rec.tables(full=True))
    with pytest.raises(RecordError, match=r"module 'net\.33'.*net\.3"):
        rec.tables("net.33")


def test_long_records_without_modules_show_both_ends():
    x = leaf(1.0)
    for _ in range(60):
        x = x * 1.01
    text = str(bl.explain(x))
    assert "The first and the last 20 of 60 operations" in text


def test_statistics_alone_still_make_tables():
    w = leaf([[1.0, 2.0], [3.0, 4.0]])
    text = str(bl.explain((w @ w).sum(), keep="stats"))
    assert "norm 5.477" in text


def test_numbers_that_differ_by_rounding_only_have_statistics():
    x = leaf([1.0, 1.0 + 2e-16, 1.0])
    assert bl.explain((x * 1.0).sum()).node("x").value_stats.counts == ()


def test_colours_in_terminals_only():
    rec = bl.explain(leaf(2.0) * 3.0)
    console = Console(force_terminal=True, color_system="standard", width=100)
    with console.capture() as capture:
        console.print(rec)
    assert "\x1b[" in capture.get() and "\x1b[" not in str(rec)


def test_text_of_the_user_is_not_taken_for_markup():
    x = leaf(2.0)
    assert "[bold]x[/bold]" in str(bl.explain(x * 2.0, names={"[bold]x[/bold]": x}))


# -- paragraphs ------------------------------------------------------------------------------------------------------


def test_scalars_with_their_product():
    w = leaf(1.0)
    s = w - 2.0
    loss = s**2
    rec = bl.explain(loss)
    said = rec.explain("loss")
    assert "`loss` is square of `s`" in said and "it holds 1" in said and "scales by 2x" in said
    assert "It handed −2 = 1 · (−2) down to `s`." in said
    assert "The gradient here is −2; it came from `loss`." in rec.explain("s")


def test_joins_and_what_grad_held():
    x = leaf(3.0)
    x.grad = bl.tensor(1.0, dtype=bl.float64)
    rec = bl.explain(x * x + 2 * x)
    assert "the sum of 3 terms, 3 + 3 + 2 = 8; the largest came from `mul`." in rec.explain(x)
    assert "It was added to 1 that .grad held before." in rec.explain(x)
    against = bl.explain(x * 5.0 - x * 4.9)
    assert "5 − 4.9 = 0.1" in against.explain(x) and "work against each other" in against.explain(x)


def test_relu_says_what_it_passed_and_which_units_never_opened():
    x = leaf([[1.0, -1.0, -2.0], [3.0, 4.0, -5.0]])
    h = bl.relu(x)
    rec = bl.explain((h * bl.tensor([[3.0, 1.0, 4.0], [1.0, 0.5, 0.5]], dtype=bl.float64)).sum())
    said = rec.explain("h")
    assert "it passed 45 % of the gradient and blocked 55 % (3 of 6 entries were shut" in said
    assert "1 of 3 units were never active in 2 rows" in said


def test_saturation_is_measured_against_the_steepest_slope():
    x = leaf([0.0, 10.0, -12.0, 1.0])
    y = bl.sigmoid(x)
    said = bl.explain(y.sum()).explain("y")
    assert "0.25 at the steepest; 50 % of the entries are saturated" in said
    z = bl.tanh(x)
    assert "1 at the steepest; 50 % of the entries" in bl.explain(z.sum()).explain("z")


def test_products_give_norms_and_broadcasting_its_copies():
    a, b = leaf(np.ones((4, 3))), leaf(np.full(3, 2.0))
    y = a * b
    rec = bl.explain(y.sum())
    said = rec.explain("y")
    assert "`b` was used 4 times by broadcasting" in said
    assert "It handed the gradient down to `a` times 2." in said
    m = bl.explain((a @ leaf(np.ones((3, 2)))).sum())
    assert "down to `a`: norm 2.83 became 6.93, a factor of 2.45." in m.explain("matmul")


def test_routes_constants_starts_and_nothing():
    x = leaf([1.0, 5.0, 2.0, 3.0, 4.0])
    with bl.record() as rec:
        top = x.max()
        unused = x * 2
        top.backward()
    assert unused is not None
    assert "to 1 of its 5 entries" in rec.explain("top")
    assert "The backward pass starts here, with 1." in rec.explain("top")
    assert "No gradient came here in this backward pass; bl.why tells the reason." in rec.explain("unused")
    assert "a constant: gradients do not go on into it" in rec.explain(rec.leaves[-1])


def test_records_of_statistics_still_tell_single_numbers():
    w = leaf([1.0, 2.0])
    (w * w).sum().backward()
    rec = bl.explain(-(w * w).sum(), keep="stats")
    text = str(rec)
    assert text.startswith("neg = −5: ") and "author" not in text
    forward, back = rows(text, "Forward pass"), rows(text, "Backward pass")
    assert forward["mul"][-1] == "2 entries, norm 4.123" and forward["neg"][-1] == "−5"
    assert back["neg"][:3] == ["neg", "1", "−1 → sum"]
    assert back["w"] == ["w", "2 entries, norm 4.472", ".grad, which held 2 entries, norm 4.472", "variable"]
    local = rows(text, "Local gradients")
    assert local["mul"][-1] == "diagonal of 2, its numbers not kept" and local["neg"][-1] == "not kept"
    assert "it holds 2 numbers of norm 4.12." in rec.explain("mul")
    assert "The gradient here is −1" in rec.explain("sum")
    assert "It was added to 2 numbers of norm 4.47 that .grad held before." in rec.explain("w")


def test_parts_of_a_record_show_what_they_are():
    x, z = leaf(-2.0), leaf(-4.0)
    q = x + 5
    f = q * z
    rec = bl.explain(f)
    assert repr(rec.node("f").local) == "(<∂f/∂q = -4>, <∂f/∂z = 3>)"
    assert repr(rec.passes) == "(<Pass: 2 operations, 3 edges, 2 leaves>,)"
    assert repr(rec.node("x").value_kept) == "<Kept scalar float64>"
    unknown = bl.explain((x + 5) * z, keep="stats")
    assert repr(unknown.nodes[-1].local[0]).startswith("<∂mul/∂")
    assert repr(unknown.nodes[-1].value_kept) == "<Kept scalar float64 (statistics)>"
