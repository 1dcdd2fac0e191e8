"""The debugger in the page: break points, and edits whose consequences equal what the library computes."""

import numpy as np
import pytest
from viewer_records import circuit, convolution, join, network, transformer

import backlit as bl


def numbers(page, expression):
    """A Numbers object of the page as an array."""
    found = page.evaluate(f"(() => {{ const a = backlitViewer; return {expression}?.values ?? null; }})()")
    return None if found is None else np.asarray(found, dtype=float)


def named(name):
    return f"a.model.nodes.find((node) => node.name === '{name}')"


def edit(page, name, what, *fields):
    """Edit through the form, as a reader does."""
    page.evaluate(f"(() => {{ const a = backlitViewer; a.goTo({named(name)}); }})()")
    label = f"Edit: Value of {name}" if what == "value" else f"of {name}"
    kind = "Edit: Value" if what == "value" else "Edit: Gradient"
    page.locator(f".panel button[aria-label^='{kind}'][aria-label$='{label[-len(name) :]}']").click()
    for field, text in zip(page.locator(".edit .grid input").all(), fields, strict=True):
        field.fill(text)
    page.click(".edit button[type=submit]")


def test_edited_value_is_carried_forward_and_back(view):
    page = view(circuit())
    edit(page, "x", "value", "−1.5")
    assert numbers(page, f"a.values.value({named('f')})") == -14.0
    assert numbers(page, f"a.values.upstream({named('z')})") == 3.5
    assert "−14" in page.locator(".wire .value").all_text_contents()
    assert "−2 → −1.5" in page.locator(".debugger").inner_text()
    assert page.locator(".item.changed").count() == 4
    page.click("text=Undo all edits")
    assert "−12" in page.locator(".wire .value").all_text_contents() and page.locator(".item.changed").count() == 0


def test_edited_gradient_is_carried_on(view):
    page = view(circuit())
    edit(page, "q", "gradient", "10")
    assert numbers(page, f"a.values.upstream({named('x')})") == 10.0
    assert numbers(page, f"a.values.upstream({named('y')})") == 10.0
    assert numbers(page, f"a.values.upstream({named('z')})") == 3.0


def test_network_with_an_edited_weight_equals_the_library(view):
    rec = network()
    page = view(rec)
    changed = rec.node("0.bias").value + np.array([0.5, -0.25, 2.0], np.float32)
    edit(page, "0.bias", "value", *[repr(float(x)) for x in changed])
    leaves = {
        node.name: bl.tensor(node.value, requires_grad=node.requires_grad) for node in rec.nodes if node.op is None
    }
    leaves["0.bias"] = bl.tensor(changed, requires_grad=True)
    hidden = bl.tanh(leaves["x"] @ leaves["0.weight"].T + leaves["0.bias"])
    loss = ((hidden @ leaves["2.weight"].T + leaves["2.bias"]) ** 2).mean()
    loss.backward()
    np.testing.assert_allclose(numbers(page, f"a.values.value({named('loss')})"), loss.item(), rtol=1e-5)
    for name in ("0.weight", "0.bias", "2.weight", "2.bias"):
        found = numbers(page, f"a.values.upstream({named(name)})")
        np.testing.assert_allclose(found, leaves[name].grad.numpy(), rtol=1e-5, atol=1e-7, err_msg=name)
    assert page.evaluate("backlitViewer.values.unknown.size") == 0


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("loss", ["mse_loss", "cross_entropy"])
def test_losses_with_an_edited_prediction(view, loss, reduction):
    start, changed = [[0.5, -1.0, 2.0], [1.0, 0.0, -0.5]], [[0.25, 1.0, 2.0], [3.0, 0.0, -1.5]]
    target = bl.tensor([2, 0]) if loss == "cross_entropy" else bl.tensor([[1.0, 0.0, 1.0], [0.0, 2.0, 0.0]])
    function = getattr(bl.nn.functional, loss)

    def explained(values):
        x = bl.tensor(values, dtype=bl.float64, requires_grad=True)
        return bl.explain(
            (function(x, target.to(bl.float64) if loss == "mse_loss" else target, reduction=reduction) * 2).sum(),
            names={"x": x},
        )

    page = view(explained(start))
    edit(page, "x", "value", *[str(value) for row in changed for value in row])
    wanted = explained(changed)
    np.testing.assert_allclose(numbers(page, f"a.values.upstream({named('x')})"), wanted.node("x").upstream, rtol=1e-12)
    assert page.evaluate("backlitViewer.values.unknown.size") == 0


def test_sum_at_a_join_is_made_anew(view):
    rec = join()
    page = view(rec)
    edit(page, "a", "value", "1", "2")
    a = bl.tensor([1.0, 2.0], dtype=bl.float64, requires_grad=True)
    (bl.exp(a) * bl.tanh(a)).sum().backward()
    np.testing.assert_allclose(numbers(page, f"a.values.upstream({named('a')})"), a.grad.numpy(), rtol=1e-12)


def test_what_cannot_be_computed_is_said(view):
    page = view(convolution())
    edit(page, "x", "value", *["1"] * 9)
    text = page.locator(".debugger").inner_text()
    assert "cannot be recomputed in the page" in text and "rec.debugger()" in text
    assert page.locator(".item.unknown").count() >= 2


def test_gradient_through_a_recorded_matrix(view):
    """An operation without a rule in the page: its recorded Jacobian is used while no value changed."""
    x = bl.tensor([[1.0, 2.0], [3.0, 5.0]], dtype=bl.float64, requires_grad=True)
    out = bl.cumsum(x, 1)
    rec = bl.explain((out * bl.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=bl.float64)).sum())
    page = view(rec)
    edit(page, "out", "gradient", "1", "0", "0", "1")
    np.testing.assert_allclose(numbers(page, f"a.values.upstream({named('x')})"), [[1, 0], [1, 1]])


def test_wrong_input_is_explained(view):
    page = view(circuit())
    edit(page, "x", "value", "one")
    assert '"one" is not a number' in page.locator(".edit [role=alert]").inner_text()
    page.locator(".edit .grid input").fill("1e1")
    page.keyboard.press("Enter")
    assert numbers(page, f"a.values.value({named('x')})") == 10.0


def stop_where(page, kind, argument=None):
    page.click("text=Debug")
    page.select_option("[aria-label='Condition']", kind)
    if argument is not None:
        page.fill('[aria-label="Condition\'s value"]', argument)
    page.click("[aria-label='Add this break point']")
    page.click("text=Rewind")
    page.click("text=Run on")


STEP = "(({kind, node}) => [kind, node.op, node.name])(backlitViewer.player.step)"


@pytest.mark.parametrize(
    ("kind", "argument", "step"),
    [
        ("op", "mul", ["forward", "mul", "f"]),
        ("name", "q", ["forward", "add", "q"]),
        ("norm", "3.5", ["local", "mul", "f"]),
    ],
)
def test_break_points(view, kind, argument, step):
    page = view(circuit())
    stop_where(page, kind, argument)
    assert page.evaluate(STEP) == step
    assert "Stopped" in page.locator(".sentence .why").inner_text()
    page.locator(".breaks .link").click()
    page.click("text=Run on")
    assert page.evaluate("backlitViewer.player.atEnd")


def test_stops_at_the_first_nan(view):
    w = bl.tensor([1.0, -1.0], requires_grad=True)
    page = view(bl.explain((bl.sqrt(w * 2) * 3).sum()))
    stop_where(page, "nan")
    assert page.evaluate(STEP)[1] == "sqrt"


def test_stops_in_a_module(view):
    page = view(transformer(2))
    stop_where(page, "module", "blocks.1")
    assert ".blocks.1." in page.evaluate("backlitViewer.player.step.node.module + '.'")


def test_a_condition_without_a_number_is_refused(view):
    page = view(circuit())
    stop_where(page, "norm", "large")
    assert '"large" is not a number' in page.locator(".debugger [role=alert]").inner_text()


def test_run_to_a_node(view):
    page = view(circuit())
    page.locator(".item.operation").first.click()
    page.click("text=Run backward to here")
    assert page.evaluate(STEP) == ["local", "mul", "f"]
    page.click("text=Run forward to here")
    assert page.evaluate(STEP) == ["forward", "add", "q"]
