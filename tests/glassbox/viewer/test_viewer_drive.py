"""The page, driven in a real Chromium as a reader would: load, play, step, search, open, click, keys, edits."""

import re

import pytest
from viewer_records import EVIL, chain, circuit, hostile, join, network, odd_records, transformer

import backlit as bl

TITLES = ".drawing.forward .item .title"


def texts(page, selector):
    return page.locator(selector).all_text_contents()


def shown(page, selector):
    """Texts that are not still to come."""
    return page.eval_on_selector_all(selector, "all => all.filter(e => !e.closest('.later')).map(e => e.textContent)")


def until(page, condition):
    """Wait for an expression; Playwright's own way needs eval, which the policy forbids."""
    for _ in range(100):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"never: {condition}")


def sentence(page):
    return page.locator(".sentence").inner_text()


def test_values_above_and_gradients_below(view):
    page = view(circuit())
    assert page.title() == "f = (x + y) · z · Backlit"
    assert texts(page, TITLES) == ["x", "y", "+", "z", "×"]
    assert sorted(texts(page, ".wire .value")) == sorted(["−2", "5", "3", "−4", "−12"])
    assert sorted(texts(page, ".wire .gradient")) == sorted(["−4", "−4", "−4", "3", "1"])
    for wire in page.locator(".wire").all():
        above, below = (wire.locator(kind).bounding_box() for kind in (".value", ".gradient"))
        assert above["y"] + above["height"] <= below["y"] + 2


def test_stepping_forward_and_back(view):
    page = view(circuit())
    page.click("[aria-label='To the start']")
    assert sorted(shown(page, ".wire .value")) == ["5", "−2", "−4"] and shown(page, ".wire .gradient") == []
    page.click("[aria-label='One step on']")
    assert "Forward: q" in sentence(page) and "(−2) + 5 = 3" in sentence(page)
    assert "3" in shown(page, ".wire .value")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert shown(page, ".wire .gradient") == ["1"] and "The backward pass starts" in sentence(page)
    page.keyboard.press("ArrowRight")
    assert "upstream 1 × local −4 = −4" in sentence(page) and "mul swaps" in sentence(page)
    page.keyboard.press("ArrowLeft")
    assert shown(page, ".wire .gradient") == ["1"]


def test_chain_rule_in_numbers_at_the_end_of_a_path(view):
    page = view(circuit())
    page.evaluate("backlitViewer.player.seek(backlitViewer.timeline.edges.get('2:0'))")
    assert "∂f/∂x = ∂f/∂q · ∂q/∂x = upstream −4 × local 1 = −4" in sentence(page)


def test_playing_and_pausing(view):
    page = view(circuit())
    page.select_option("[aria-label='Speed']", "10")
    page.keyboard.press("Space")
    assert page.locator(".play").get_attribute("aria-label") == "Pause"
    until(page, "backlitViewer.player.position >= 3")
    page.keyboard.press("Space")
    assert page.locator(".play").get_attribute("aria-label") == "Play"
    stopped = page.evaluate("backlitViewer.player.position")
    page.wait_for_timeout(250)
    assert page.evaluate("backlitViewer.player.position") == stopped
    page.click(".play")
    until(page, "backlitViewer.player.atEnd && !backlitViewer.player.playing")


def test_a_join_is_a_sum_with_its_terms(view):
    rec = join()
    page = view(rec)
    page.evaluate("backlitViewer.player.seek(backlitViewer.timeline.upstream.get(backlitViewer.model.nodes[0].id))")
    page.evaluate("backlitViewer.goTo(backlitViewer.model.nodes[0])")
    panel = page.locator(".panel").inner_text()
    assert "Sum of 2 paths" in panel and "from left" in panel and "from right" in panel
    steps = page.evaluate("backlitViewer.timeline.steps.map(step => step.kind)")
    assert steps.count("join") == 1
    page.evaluate("backlitViewer.player.seek(backlitViewer.timeline.steps.findIndex(s => s.kind === 'join') + 1)")
    assert "2 paths meet" in sentence(page) and "] + [" in sentence(page)


def test_everything_about_a_node(view):
    page = view(network())
    page.locator(".item.operation").first.click()
    panel = page.locator(".panel").inner_text()
    for part in (
        "operation linear",
        "2×3",
        "Rule",
        "Source",
        "viewer_records.py",
        "Value",
        "Gradient ∂loss",
        "Inputs",
        "Saved",
    ):
        assert part in panel, part
    page.locator(".panel .link", has_text="0.weight").first.click()
    assert page.locator(".panel h2").inner_text() == "0.weight" and ".grad" in page.locator(".panel").inner_text()
    page.click("[aria-label='Close the details']")
    assert not page.locator(".panel.shown").count()


def test_hints(view):
    page = view(circuit())
    hint = page.locator(".item.operation title").first.text_content()
    for part in ("add gives q", "z = x + y", "distributes", "value 3", "∂f/∂q −4", "q = x + y"):
        assert part in hint
    assert "z = −4 to f, gradient 3" in page.locator(".wire title").all_text_contents()


def test_another_pass(view):
    data = circuit().to_dict(inline=True)
    first = data["passes"][0]
    halves = [{**edge, "downstream": {**edge["downstream"], "values": 0.5}} for edge in first["edges"]]
    page = view({**data, "passes": [first, {**first, "edges": halves}]})
    gradients = page.locator(".wire .gradient")
    assert gradients.all_text_contents().count("0.5") == 4
    page.locator("header label", has_text="Pass").locator("select").select_option("0")
    assert sorted(gradients.all_text_contents()) == sorted(["−4", "−4", "−4", "3", "1"])
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("backlitViewer.player.position") == 1


def test_paper(view):
    page = view(network())
    page.emulate_media(media="print", color_scheme="dark")
    assert not page.locator(".controls").is_visible() and not page.locator(".search").is_visible()
    assert page.locator(".graph").is_visible()
    ground = page.evaluate("getComputedStyle(document.querySelector('.backlit')).backgroundColor")
    ink = page.evaluate("getComputedStyle(document.querySelector('.graph .title')).fill")
    assert ground == "rgb(255, 255, 255)" and ink == "rgb(28, 30, 36)"
    assert len(page.pdf()) > 10_000


def test_modules_open_and_close(view):
    page = view(transformer(8))
    before = page.locator(".drawing .item").count()
    page.locator(".item.group", has_text="blocks.1").dblclick()
    opened = page.locator(".drawing .item").count()
    assert opened > before and page.locator(".cluster[data-group$='blocks.1']").count() == 1
    page.locator(".cluster[data-group$='blocks.1'] .sign").click()
    assert page.locator(".drawing .item").count() == before
    group = page.locator(".item.group", has_text="blocks.2")
    group.focus()
    page.keyboard.press("Enter")
    assert page.locator(".cluster[data-group$='blocks.2']").count() == 1


def test_a_slow_double_click_opens_what_was_clicked_first(view):
    """The first click opens the panel, and the drawing makes room for it under the pointer."""
    page = view(transformer(8))
    page.locator(".item.group", has_text="blocks.1").dblclick(delay=150)
    assert page.locator(".cluster[data-group$='blocks.1']").count() == 1


def test_steps_inside_a_closed_module_are_one(view):
    page = view(transformer(8))
    page.evaluate("backlitViewer.player.seek(0)")
    presses = 0
    while not page.evaluate("backlitViewer.player.atEnd") and presses < 500:
        page.keyboard.press("ArrowRight")
        presses += 1
    assert presses < page.evaluate("backlitViewer.timeline.length") / 2


def test_search(view):
    page = view(transformer(8))
    page.keyboard.press("/")
    page.keyboard.type("blocks.1.attention.query weight")
    assert page.locator(".found li[role=option]").count() == 1
    page.keyboard.press("Enter")
    assert page.locator(".panel h2").inner_text() == "blocks.1.attention.query.weight"
    assert page.locator(".item.selected .title").text_content() == "weight"
    page.keyboard.press("/")
    page.keyboard.type("no such thing")
    assert "nothing found" in page.locator(".found").inner_text()


def test_keys(view):
    page = view(circuit())
    scale = "backlitViewer.viewport.scale"
    before = page.evaluate(scale)
    page.keyboard.press("+")
    assert page.evaluate(scale) > before
    page.keyboard.press("-")
    assert page.evaluate(scale) == pytest.approx(before)
    page.keyboard.press("Shift+ArrowRight")
    x = page.evaluate("backlitViewer.viewport.x")
    page.keyboard.press("0")
    assert page.evaluate("backlitViewer.viewport.x") == pytest.approx(x + 80)
    page.keyboard.press("Home")
    assert page.evaluate("backlitViewer.player.position") == 0
    page.keyboard.press("End")
    assert page.evaluate("backlitViewer.player.atEnd")
    page.keyboard.press("?")
    assert page.locator(".help").is_visible() and "play or pause" in page.locator(".help").inner_text()
    page.keyboard.press("Escape")
    assert not page.locator(".help").is_visible()


def test_arrows_go_from_node_to_node(view):
    page = view(circuit())
    page.locator(".item.operation").first.focus()
    page.keyboard.press("ArrowRight")
    assert page.locator(".panel h2").inner_text() == "f"
    page.keyboard.press("ArrowLeft")
    assert page.locator(".panel h2").inner_text() in ("q", "z")
    page.keyboard.press("Escape")
    assert not page.locator(".panel.shown").count()


def test_every_node_can_be_reached_and_read_aloud(view):
    page = view(network())
    for item in page.locator(".item").all():
        assert item.get_attribute("tabindex") == "0" and item.get_attribute("aria-label")
    for button in page.locator("button:visible").all():
        assert button.get_attribute("aria-label") or button.inner_text().strip()


def test_both_networks(view):
    page = view(circuit())
    page.click("text=Both")
    assert page.locator(".drawing.forward").count() == page.locator(".drawing.backward").count() == 1
    assert texts(page, ".drawing.backward .title") == ["∇x", "∇y", "+′", "∇z", "×′"]
    assert sorted(texts(page, ".drawing.backward .value")) == sorted(["× 1", "× 1", "× −4", "× 3", "seed"])
    page.keyboard.press("b")
    assert page.locator(".drawing.backward").count() == 0


def test_the_reverse_network_says_what_each_operation_does(view):
    bl.manual_seed(0)
    x, w = bl.randn(4, 3), bl.randn(3, 5, requires_grad=True)
    z = x @ w
    p = bl.sigmoid(z)
    loss = (p**2).mean()
    page = view(bl.explain(loss))
    page.click("text=Both")
    assert texts(page, ".drawing.backward .value") == ["xᵀ δ", "⊙ σ′", "⊙ (2p)", "δ/n", "seed"]
    page.keyboard.press("End")
    while "∂loss/∂w = ∂loss/∂z · ∂z/∂w = xᵀ δ" not in sentence(page):
        page.keyboard.press("ArrowLeft")
        assert not page.evaluate("backlitViewer.player.position === 0")
    assert "δ = ∂loss/∂z" in sentence(page)
    page.evaluate("backlitViewer.select([...backlitViewer.view.items.values()].find(i => i.node?.name === 'z'))")
    assert "xᵀ δ" in page.locator(".panel").inner_text()


def test_light_and_dark(view):
    ground = "getComputedStyle(document.querySelector('.backlit')).backgroundColor"
    light, dark = view(circuit(), color_scheme="light"), view(circuit(), color_scheme="dark")
    colours = light.evaluate(ground), dark.evaluate(ground)
    assert colours[0] != colours[1]
    light.keyboard.press("d")
    assert light.evaluate(ground) == colours[1]
    light.click("[aria-label='Light or dark']")
    assert light.evaluate(ground) == colours[0]


@pytest.mark.parametrize("colouring", ["kind", "gradient"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_stand_out(view, scheme, colouring):
    page = view(network(), color_scheme=scheme)
    page.locator(".item.operation").first.click()
    page.select_option(".colouring", colouring)
    pairs = page.evaluate(CONTRAST)
    assert pairs and min(ratio for _, ratio in pairs) >= 4.5, sorted(pairs, key=lambda pair: pair[1])[:3]


CONTRAST = """() => {
  const light = (text) => {
    const [r, g, b] = text.match(/[\\d.]+/g).map((x) => x / 255)
      .map((x) => (x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = getComputedStyle(e).backgroundColor;
      if (!/, 0\\)$|transparent/.test(colour)) return colour;
    }
  };
  return [...document.querySelectorAll("p, td, th, h1, h2, h3, button, dd, dt, .graph text")]
    .filter((e) => e.textContent.trim() && e.getClientRects().length && !e.closest(".help"))
    .map((e) => {
      const style = getComputedStyle(e);
      const inside = !e.classList.contains("caption") && e.closest(".item");
      const box = inside && inside.querySelector(".shape");
      const back = box ? getComputedStyle(box).fill : ground(e);
      const [a, b] = [light(e instanceof SVGElement ? style.fill : style.color), light(back)].sort((x, y) => y - x);
      return [`${e.className?.baseVal ?? e.className} ${e.textContent.slice(0, 20)}`, (a + 0.05) / (b + 0.05)];
    });
}"""


def test_touch(view):
    page = view(circuit(), has_touch=True, viewport={"width": 420, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 420
    page.locator(".item.operation").first.tap()
    assert page.locator(".panel h2").inner_text() == "q"
    before = page.evaluate("backlitViewer.viewport.scale")
    page.evaluate(PINCH)
    assert page.evaluate("backlitViewer.viewport.scale") > 1.5 * before


PINCH = """() => {
  const frame = document.querySelector(".graph");
  const { left, top } = frame.getBoundingClientRect();
  const send = (type, pointerId, x) => frame.dispatchEvent(
    new PointerEvent(type, { pointerId, pointerType: "touch", clientX: left + x, clientY: top + 100, bubbles: true }));
  send("pointerdown", 1, 150); send("pointerdown", 2, 200);
  for (let x = 200; x <= 300; x += 10) send("pointermove", 2, x);
  send("pointerup", 1, 150); send("pointerup", 2, 300);
}"""


def test_colours(view):
    w = bl.tensor([1.0, 0.0], requires_grad=True)
    broken = bl.explain((bl.log(w) * bl.tensor([1.0, 0.0])).sum(), title="NaN")
    page = view(broken)
    page.select_option(".colouring", "nan")
    assert page.locator(".item.broken").count() >= 2
    page = view(network())
    page.select_option(".colouring", "gradient")
    assert page.locator(".item[class*='scale-']").count() > 5
    ends = page.locator(".legend").inner_text()
    assert "gradient norm" in ends and re.search(r"\d", ends)


def test_labels_do_not_overlap(view):
    page = view(network())
    boxes = page.eval_on_selector_all(
        ".drawing text",
        "all => all.map(e => { const b = e.getBoundingClientRect(); return [b.left, b.top, b.right, b.bottom]; })",
    )
    for i, one in enumerate(boxes):
        for other in boxes[:i]:
            across = min(one[2], other[2]) - max(one[0], other[0])
            down = min(one[3], other[3]) - max(one[1], other[1])
            assert across < 2 or down < 5, (one, other)


def test_markup_in_names_is_text(view):
    page = view(hostile())
    content = page.locator("#app").inner_text()
    assert EVIL[0].replace(".", "")[:20] in content
    page.keyboard.press("/")
    page.keyboard.type("script")
    assert EVIL[1] in page.locator(".found").inner_text()
    page.keyboard.press("Enter")
    assert page.locator(".panel h2").inner_text() == EVIL[1]
    assert page.locator("#app img, #app script").count() == 0


def test_injected_script_does_not_run(view, troubles):
    page = view(circuit())
    refused = page.evaluate(
        "() => new Promise((done) => {"
        "document.addEventListener('securitypolicyviolation', (event) => done(event.effectiveDirective));"
        "const script = document.createElement('script');"
        "script.textContent = 'globalThis.ran = 1';"
        "document.body.append(script); })"
    )
    assert refused == "script-src-elem" and page.evaluate("globalThis.ran") is None
    assert "Content Security Policy" in troubles.pop()


def test_long_chains_are_cut_into_parts(view):
    page = view(chain(400))
    assert page.locator(".item.group").count() >= 6 and page.locator(".item").count() < 40


@pytest.mark.parametrize("name", odd_records())
def test_unusual_records(view, name):
    page = view(odd_records()[name])
    assert page.locator(".item").count() >= 2
    page.keyboard.press("Home")
    while not page.evaluate("backlitViewer.player.atEnd"):
        page.keyboard.press("ArrowRight")
    page.click("text=Both")
    for i in range(page.locator(".drawing.forward .item").count()):
        page.evaluate("i => backlitViewer.select([...backlitViewer.view.items.values()][i])", i)
        assert page.locator(".panel h2").count() == 1


def test_a_module_that_leads_back_to_itself_can_be_closed(view):
    page = view(odd_records()["a module used twice"])
    page.evaluate(
        "backlitViewer.open.clear(); backlitViewer.open.add(backlitViewer.model.tree.groups[0]); backlitViewer.draw()"
    )
    assert page.locator(".item.group").count() == 2
