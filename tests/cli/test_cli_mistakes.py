"""Whatever users get wrong with `backlit train`: one sentence, exit code 2, a near match, nothing written."""

import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from backlit import __version__
from backlit.cli import main


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flowers.csv").write_text("length,width,species\n" + "1,2,a\n2,1,b\n" * 10)
    (tmp_path / "numbers.csv").write_text("a,b\n" + "".join(f"{i},{i * 1.5}\n" for i in range(40)))
    (tmp_path / "half.csv").write_text("a,b\n1,2\n3\n")
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "precious.txt").write_text("mine")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("{]")
    (tmp_path / "broken" / "checkpoints").mkdir()
    (tmp_path / "broken" / "checkpoints" / "checkpoint-00000001.safetensors").write_text("?")
    return tmp_path


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}


MISTAKES = [
    ("digit", "did you mean 'digits'"),
    ("", "what to train on is missing"),
    ("digits --activation rleu", "did you mean 'relu'"),
    ("digits --optimizer adm", "did you mean 'adam'"),
    ("digits --loss cross-entropy", "did you mean 'cross_entropy'"),
    ("digits --activaton relu", "'--activation'"),
    ("digits --lr -1", "a number above 0"),
    ("digits --lr nan", "a number above 0"),
    ("digits --lr inf", "a number above 0"),
    ("digits --lr", "--lr"),
    ("digits --epochs 0", "a whole number of at least 1"),
    ("digits --epochs 2.5", "a whole number"),
    ("digits --epochs " + "9" * 5000, "a whole number"),
    ("digits --batch-size none", "or full"),
    ("digits --layers 12,x", "as in 256,128, or none"),
    ("digits --layers 0,5", "as in 256,128, or none"),
    ("digits --layers 16384,16384,16384", "the limit is"),
    ("digits --layers " + ",".join(["2"] * 100), "at most 64"),
    ("digits --dropout 1", "below 1"),
    ("digits --validation-fraction 2", "at most 0.9"),
    ("digits --seed -1", "a whole number"),
    ("digits --momentum 0.9", "belongs to the optimizers"),
    ("digits --early-stopping 5 --validation-fraction 0", "--validation-fraction above 0"),
    ("digits --loss l1", "choose from cross_entropy"),
    ("digits flowers.csv", "takes no file"),
    ("digits a b", "extra argument"),
    ("digits --target species", "belongs to csv"),
    ("digits --data .", "belongs to mnist"),
    ("digits --out full", "is not empty"),
    ("digits --out flowers.csv", "is a file"),
    ("digits --out flowers.csv/sub", "flowers.csv"),
    ("moons --augment", "has none"),
    ("mnist", "--data DIR"),
    ("mnist --data nowhere", "no such folder"),
    ("mnist --data full", "looked for"),
    ("csv", "needs a file"),
    ("csv flowers.csv", "--target COLUMN"),
    ("csv flower.csv --target species", "did you mean 'flowers.csv'"),
    ("csv flowers.csv --target specie", "did you mean 'species'"),
    ("csv flowers.csv --target species --drop widht", "did you mean 'width'"),
    ("csv flowers.csv --target species --loss huber", "does not suit"),
    ("csv numbers.csv --target b --loss cross_entropy", "does not suit"),
    ("csv numbers.csv --target b --task clasification", "did you mean 'classification'"),
    ("csv half.csv --target a", "half.csv"),
    ("csv empty.csv --target a", "empty.csv"),
    ("csv . --target a", "folder"),
    ("--resume nowhere", "no such folder"),
    ("--resume ful", "did you mean 'full'"),
    ("--resume full", "no config.json"),
    ("--resume broken", "damaged"),
    ("digits --resume full", "leave 'digits' out"),
    ("--resume full --lr 1", "--lr cannot be changed"),
]


@pytest.mark.parametrize(("line", "message"), MISTAKES, ids=[line[:60] or "nothing" for line, _ in MISTAKES])
def test_mistakes(here, line, message):
    before = contents(here)
    result = CliRunner().invoke(main, ["train", *line.split()])
    assert result.exit_code == 2, result.output
    assert message in result.stderr, result.stderr
    assert result.stderr.startswith("backlit: ") and result.stderr.count("\n") == 1
    assert result.stdout == ""
    assert contents(here) == before


def test_commands_and_help():
    runner = CliRunner()
    assert runner.invoke(main, ["--version"]).stdout == f"backlit {__version__}\n"
    wrong = runner.invoke(main, ["trian"])
    assert wrong.exit_code == 2 and "did you mean 'train'" in wrong.stderr
    for arguments in (["--help"], ["train", "--help"], ["explain", "--help"]):
        shown = runner.invoke(main, arguments)
        assert shown.exit_code == 0
        assert "backlit explain" in shown.stdout or "backlit train digits" in shown.stdout
    assert runner.invoke(main, ["--nope"]).exit_code == 2


def test_terminals_that_know_little():
    code = "from backlit.cli import main; main()"
    shown = subprocess.run(
        [sys.executable, "-c", code, "explain", "x*y", "x=-2", "y=3"],
        capture_output=True, env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}, check=True,
    )  # fmt: skip
    assert b"-6" in shown.stdout and shown.stdout.isascii()


def test_help_imports_nothing_heavy():
    code = (
        "import sys\n"
        "from backlit.cli import main\n"
        "try:\n    main(['train', '--help'])\nexcept SystemExit as e:\n    assert not e.code\n"
        "print([m for m in ('scipy', 'rich.console', 'backlit.train', 'safetensors') if m in sys.modules])\n"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.splitlines()[-1] == "[]"
