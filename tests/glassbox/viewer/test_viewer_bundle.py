"""Modules joined into one script."""

import pytest

from backlit.glassbox.viewer.bundle import ASSETS, bundle


def write(folder, **modules):
    for name, text in modules.items():
        (folder / f"{name}.js").write_text(text, encoding="utf-8")
    return folder / "entry.js"


def test_modules_stand_behind_what_they_import(tmp_path):
    entry = write(
        tmp_path,
        entry='import { twice } from "./middle.js";\nglobalThis.result = twice(2);\n',
        middle='import { two } from "./base.js";\nexport function twice(x) { return two * x; }\n',
        base="export const two = 2;\n",
    )
    script = bundle(entry)
    assert script.index("const two = 2") < script.index("function twice") < script.index("globalThis.result")
    assert "import {" not in script and "export function" not in script


@pytest.mark.parametrize("text", ['import all from "./base.js";', "export default 3;", 'export * from "./base.js";'])
def test_other_forms_are_refused(tmp_path, text):
    entry = write(
        tmp_path, entry='import { two } from "./middle.js";\n', middle=f"{text}\n", base="export const two = 2;\n"
    )
    with pytest.raises(ValueError, match="not a form"):
        bundle(entry)


def test_circles_are_refused(tmp_path):
    entry = write(
        tmp_path,
        entry='import { a } from "./one.js";\n',
        one='import { b } from "./two.js";\nexport const a = 1;\n',
        two='import { a } from "./one.js";\nexport const b = 1;\n',
    )
    with pytest.raises(ValueError, match="imports itself"):
        bundle(entry)


def test_a_script_cannot_end_its_element(tmp_path):
    with pytest.raises(ValueError, match="</script"):
        bundle(write(tmp_path, entry='const text = "</script>";\n'))


def test_nothing_becomes_markup_or_code():
    for module in (ASSETS / "js").glob("*.js"):
        text = module.read_text(encoding="utf-8")
        for forbidden in (
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "new Function",
            "fetch(",
        ):
            assert forbidden not in text, f"{module.name}: {forbidden}"
