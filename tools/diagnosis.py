"""Measure the doctor on the zoo of sick and healthy trainings, and write docs/diagnosis.md.

    python tools/diagnosis.py [VARIANTS]

Each training is made in several variants (seed, width, rows, optimizer), none of which the rules were fitted to.
"""

import sys
import warnings
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests" / "check" / "zoo"))

import zoo_healthy  # noqa: E402
import zoo_sick  # noqa: E402, F401
from zoo_support import HEALTHY, SICK, Variant  # noqa: E402

from backlit.check import diagnose  # noqa: E402

HEAD = """# Diagnosis

`bl.check.diagnose(model, data, loss, optimizer, history, validation)` and `backlit doctor RUN_FOLDER` say what is wrong
with a training, likeliest first, each finding with its evidence, cause and remedy. Nothing they look at is changed.

They rest on five kinds of evidence, never on how a situation was made:

- the rows (`check.data`): NaN, scale, constant and equal columns, leaks, order, labels that neighbours do not share;
- one forward and backward pass in training mode (`check.flow`, the fit of output and loss): dead, saturated and equal
  units, cut paths, gradients that vanish or explode through depth or time;
- what the loop left: `.grad` against the gradients of single batches, the optimizer's parameters, counts of batch norm,
  recorded losses against those of both modes;
- experiments on copies: a few steps with other learning rates, without weight decay, without dropout, from new weights;
- curves (`check.curves`).

A network that learned and generalizes is healthy, whatever its statistics. The experiments are left out where one would
take more than about 0.15 s (large or long recurrent networks); rates and decay are then judged from curves alone.

`backlit doctor` exits with 0 where nothing is found, 1 with findings, 2 where the folder is no readable run. It
rebuilds the network and its data from `config.json`; where the data are gone, curves, layer statistics and weights
remain.

## The zoo

`tests/check/zoo` holds sick trainings, each with the verdict it must get as first or second finding, and healthy ones
that must get none. The default tests run two variants; the figures below are of others.
"""


def main(count: int) -> None:
    warnings.simplefilter("error")
    variants = [Variant(s, (16, 32, 64)[s % 3], (300, 400, 600)[s // 2 % 3], s % 2 == 0) for s in range(20, 20 + count)]
    rows, first, right, false = [], 0, 0, 0
    for name, (make, kinds) in SICK.items():
        found = [diagnose(**zoo_healthy.seeded(make, v)).kinds[:2] for v in variants]
        good = sum(bool(set(f) & set(kinds)) for f in found)
        first += sum(bool(set(f[:1]) & set(kinds)) for f in found)
        right += good
        rows.append(f"| {name.replace('_', ' ')} | {' or '.join(f'`{k}`' for k in kinds)} | {good}/{count} |")
        print(rows[-1], flush=True)
    for name, make in HEALTHY.items():
        alarms = sum(bool(diagnose(**zoo_healthy.seeded(make, v))) for v in variants)
        false += alarms
        rows.append(f"| {name.replace('_', ' ')} | none | {count - alarms}/{count} |")
        print(rows[-1], flush=True)
    sick, healthy = count * len(SICK), count * len(HEALTHY)
    text = (
        f"{HEAD}\nMeasured with `python tools/diagnosis.py {count}` ({count} variants of {len(SICK)} sick and "
        f"{len(HEALTHY)} healthy trainings):\n**{right} of {sick} verdicts right ({right / sick:.1%}), {first} of them "
        f"as the first finding; {false} false alarms in {healthy} healthy trainings.**\n\n"
        "| training | verdict | right |\n|---|---|---|\n" + "\n".join(rows) + "\n"
    )
    (ROOT / "docs" / "diagnosis.md").write_text(text, encoding="utf-8")
    print(f"{right}/{sick} right, {first} first, {false}/{healthy} false alarms")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
