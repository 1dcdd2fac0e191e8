"""The gallery is what the code says: every page is made again and compared, every law checked, every link followed."""

import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "gallery"


@pytest.fixture(scope="module")
def gallery():
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        import gallery

        return gallery
    finally:
        sys.path.remove(str(ROOT / "tools"))


def test_pages_are_up_to_date(gallery):
    made = gallery.pages()
    there = {path.name for path in FOLDER.iterdir() if path.suffix in (".md", ".tex")}
    assert there == set(made), "run python tools/gallery.py"
    for name, text in made.items():
        assert (FOLDER / name).read_text(encoding="utf-8") == text, f"{name} is stale: run python tools/gallery.py"


def test_there_are_ten_results_each_with_law_numbers_and_picture(gallery):
    assert len(gallery.RESULTS) == 10
    for result in gallery.RESULTS:
        page = (FOLDER / f"{result.name}.md").read_text(encoding="utf-8")
        for law in result.law:
            assert law in page
        assert "## Every number of both passes" in page and "Checked: the record agrees" in page
        picture = ET.parse(FOLDER / f"{result.name}.svg").getroot()
        assert picture.tag.endswith("svg")


def test_a_law_that_does_not_hold_is_noticed(gallery):
    result = gallery.RESULTS[0]
    wrong = result._replace(check=lambda rec: [(name, 1.01 * a, b) for name, a, b in result.check(rec)])
    with pytest.raises(AssertionError, match="sigmoid-neuron: w0"):
        gallery.markdown(wrong)


def test_links_lead_somewhere():
    for path in FOLDER.glob("*.md"):
        for target in re.findall(r"\]\(([^)]+)\)", path.read_text(encoding="utf-8")):
            assert (FOLDER / target).exists(), f"{path.name} links to {target}"


def test_latex_documents_are_balanced(gallery):
    for result in gallery.RESULTS:
        text = (FOLDER / f"{result.name}.tex").read_text(encoding="utf-8")
        assert sorted(re.findall(r"\\begin{(\w+\*?)}", text)) == sorted(re.findall(r"\\end{(\w+\*?)}", text))
        plain = re.sub(r"\\[{}]", "", text)
        assert plain.count("{") == plain.count("}")
