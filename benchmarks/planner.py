"""How far off the planner is, over published measurements and executed steps.

    python -m benchmarks.planner

Rows are those of tests/data; docs/benchmarks.md holds the last results. A goal is issue 5's.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable

from benchmarks import accuracy
from benchmarks.accuracy import Errors
from benchmarks.published import rows

TRAINER = (0.01, 0.03)  # of each kind of step of our own trainer
GOALS = {
    "golden": (0.005, 0.015),
    "fused loss or one GPU": (0.03, 0.08),
    "sharded (FSDP), all logits": (0.04, 0.12),
}


def main() -> None:
    executed = Errors("golden", tuple(error for _, error in accuracy.golden()))
    say("## Allocated bytes\n")
    table([executed, *accuracy.oracle(), *accuracy.memory_errors()])
    say("\n## What a device must have (nvidia-smi)\n")
    table(accuracy.reserved_errors())
    inside, all_rows = accuracy.within_band()
    say(f"\nOf {all_rows} runs of blind models {inside} lie within the band.")
    say("\n## Whether it fits 80 GB\n")
    fits(accuracy.verdicts())
    say("\n## Tokens a second\n")
    table(accuracy.time_errors())
    inside, all_rows = accuracy.within_time_band()
    say(f"\nOf {all_rows} runs {inside} took what the band says.")
    say("\n## Left out\n")
    left_out()


def say(text: str) -> None:
    sys.stdout.write(text + "\n")


def table(groups: Iterable[Errors]) -> None:
    say("| | rows | median | nine in ten | worst | predicted is | goal |")
    say("| --- | --- | --- | --- | --- | --- | --- |")
    for one in groups:
        goal = TRAINER if one.name.startswith("our own trainer") else GOALS.get(one.name)
        wanted = f"{goal[0]:.1%} / {goal[1]:.1%}" if goal else ""
        figures = f"{one.median:.1%} | {one.p90:.1%} | {one.worst:.1%} | {one.bias:+.1%}"
        say(f"| {one.name} | {len(one.signed)} | {figures} | {wanted} |")


def fits(found: dict[str, Counter[str]]) -> None:
    say("| | fits | warned | refused |")
    say("| --- | --- | --- | --- |")
    for name, judged in found.items():
        say(f"| {name} | {judged['yes']} | {judged['tight']} | {judged['no']} |")


def left_out() -> None:
    every = [row for row in rows("memory_calibration") if accuracy.left_out(row)]
    for (model, why), number in Counter(
        (row["model"], accuracy.left_out(row)) for row in every
    ).items():
        say(f"- {number} rows of {model}: {why}")


main()
