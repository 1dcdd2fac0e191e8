"""Write docs/gallery: ten standard results of backpropagation, each as a page, a LaTeX document and a picture.

    python tools/gallery.py

The tests hold the pages against the code. Every law is checked before its page is written.
"""

import inspect
import textwrap
from pathlib import Path

import numpy as np
from gallery_results import RESULTS, Result

from backlit.glassbox.words.figures import latex_text

FOLDER = Path(__file__).parent.parent / "docs" / "gallery"

_HEAD = """# Gallery

Ten standard results of backpropagation. Each page is made by `python tools/gallery.py` from a few lines of code and
what `bl.explain` says of them; the tests make it again and compare.
"""
_CHECKED = "Checked: the record agrees with this law, computed with NumPy alone, to 12 digits ({})."
_HELPERS = "(`leaf` makes a float64 tensor that wants a gradient, `data` one that does not; `F` is `nn.functional`.)"
_AGREES = 1e-12
"""Relative difference up to which a law and the record count as equal, in double precision."""


def code(result: Result) -> str:
    """The program as it stands in gallery_results.py, without the line that defines it."""
    lines = textwrap.dedent(inspect.getsource(result.program).partition("\n")[2]).strip().splitlines()
    shown = [line.partition("  # noqa")[0] for line in lines]
    return "\n".join([*shown[:-1], shown[-1].replace("return ", "rec = ")])


def checked(result: Result, rec: object) -> list[str]:
    """The names for which the law was found to hold.

    Raises:
        AssertionError: the law and the record disagree.
    """
    pairs = result.check(rec)
    for name, expected, found in pairs:
        np.testing.assert_allclose(found, expected, rtol=_AGREES, atol=_AGREES, err_msg=f"{result.name}: {name}")
    return [name for name, _, _ in pairs]


def markdown(result: Result) -> str:
    """The page."""
    rec = result.program()
    names = ", ".join(checked(result, rec))
    parts = [f"# {result.title}", result.about, "## The program", f"```python\n{code(result)}\n```", _HELPERS]
    parts += [f"![The graph: values above, gradients below]({result.name}.svg)", "## The chain rule, with numbers"]
    parts.append(rec.derivation(result.wrt, form="markdown").strip())
    parts += ["## Every number of both passes", f"```\n{rec}\n```", "## In words"]
    parts += [f"- {_without_place(rec.explain(node))}" for node in rec.operations]
    parts += ["## In general", *(f"$$\n{law}\n$$" for law in result.law), result.words]
    parts.append(_CHECKED.format(names))
    return "\n\n".join(parts).rstrip() + "\n"


def _without_place(paragraph: str) -> str:
    """A paragraph without the line of the file, which the page shows as a whole."""
    before, place, after = paragraph.partition(" (in gallery_results.py")
    return before + after[after.index(");") + 1 :] if place else paragraph


def latex(result: Result) -> str:
    """The same as a document of its own."""
    rec = result.program()
    names = latex_text(", ".join(checked(result, rec)))
    law = " \\\\\n".join(f"  & {line}" for line in result.law)
    chain = rec.derivation(result.wrt, form="latex")
    return f"""\\documentclass{{article}}
\\usepackage[utf8]{{inputenc}}
\\usepackage[T1]{{fontenc}}
\\usepackage{{amsmath}}
\\allowdisplaybreaks
\\title{{{result.title}}}
\\date{{}}
\\begin{{document}}
\\maketitle

{latex_text(result.about)}

\\section*{{The chain rule, with numbers}}

{chain}
\\section*{{In general}}

\\begin{{align*}}
{law}
\\end{{align*}}

{latex_text(result.words)}
{_CHECKED.format(names)}

\\end{{document}}
"""


def pages() -> dict[str, str]:
    """What the folder holds, by file name; pictures are apart."""
    found = {f"{result.name}.md": markdown(result) for result in RESULTS}
    found |= {f"{result.name}.tex": latex(result) for result in RESULTS}
    entries = "\n".join(f"- [{r.title}]({r.name}.md) ([LaTeX]({r.name}.tex)): {r.about}" for r in RESULTS)
    found["README.md"] = f"{_HEAD}\n{entries}\n"
    return found


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    for result in RESULTS:
        (FOLDER / f"{result.name}.svg").write_text(result.program().svg(title=result.title), encoding="utf-8")


if __name__ == "__main__":
    main()
