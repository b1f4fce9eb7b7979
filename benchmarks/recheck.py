"""How long the language server takes from a changed text to its findings.

    python benchmarks/recheck.py

Each edit changes one value in a recipe, or leaves an item half-written, as typing does. CPU time
is measured, which other work on the machine hardly changes. Times are for reading, never for a
test; docs/editors.md holds the last results.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from tunelang.lsp.document import planned, read
from tunelang.lsp.tokens import colours
from tunelang.source import Source

EDITS = 12
LIMITS = {200: 30, 2000: 150}  # lines -> milliseconds
HEAD = """tune 1
model llama = hf("meta-llama/Llama-3.1-8B", revision = "d04e592")
hardware pod { gpu = "H100", count = 8 }
defaults stage {
  on = pod
}
"""
STACK = """
# --- stack N ---
data abstracts_N {
  from = hf("ncbi/pubmed", revision = "7f2b1d0", split = train)
  format = text(field = "abstract")
  licence = "public-domain"
}
data talks_N = hf("acme/talks", revision = "0aa91c3", format = chat, hold_out = 2%)
data pairs_N {
  from = hf("acme/pairs", revision = "91be77d")
  format = preference(prompt = "ask", chosen = "better", rejected = "worse")
  hold_out = 2%
}
data asks_N = files("./asks.jsonl", format = prompt(field = "ask"))

stage domain_N: domain_adaptation {
  model = llama
  data = abstracts_N
  train = 2B tokens
  batch = 1M tokens
  lr = 1e-5
  schedule = cosine(warmup = 200 steps, floor = 10%)
}

stage chat_N: instruction_tuning {
  model = domain_N
  data = talks_N
  train = 300 steps
  batch = 128 sequences
  lr = 2e-5
  weights = qlora(rank = 16, alpha = 32, targets = all_linear)
}

stage judge_N: reward_modeling {
  model = chat_N
  data = pairs_N
  train = 300 steps
  batch = 64 pairs
  gate { accuracy(pairs_N.hold_out) >= 70% }
}

stage policy_N: ppo {
  policy = chat_N
  reference = chat_N
  reward = judge_N
  prompts = asks_N
  train = 20k episodes
  kl { target = 6.0, coefficient = 0.05, horizon = 10k episodes }
  rollout { batch = 512, reply = 512 tokens, temperature = 0.7 }
  value { lr = 3e-6, from = judge_N }
}
"""


def recipe(lines: int) -> str:
    """A recipe of about so many lines: four-stage stacks one below the other."""
    text, number = HEAD, 0
    while text.count("\n") < lines:
        text, number = text + STACK.replace("_N", f"_{number}"), number + 1
    return text


def sound(text: str, number: int) -> str:
    return text.replace("lr = 1e-5", f"lr = {number + 1}e-5", 1)


def broken(text: str, number: int) -> str:
    return text.replace("  lr = 2e-5\n", f"  lr = {'2' * (number + 1)} x y\n  sche\n", 1)


def milliseconds(text: str, edit: Callable[[str, int], str]) -> float:
    """The median over edits of one text, the first (which parses everything) left out."""
    times = []
    for number in range(EDITS + 1):
        source = Source("recipe.tune", edit(text, number))
        start = time.process_time()
        read(source, Path())
        times.append((time.process_time() - start) * 1000)
        gc.collect()
    return median(times[1:])


def main() -> None:
    gc.disable()  # as the server runs: it collects when typing pauses
    for lines, limit in LIMITS.items():
        text = recipe(lines)
        row = [f"{milliseconds(text, edit):.0f} ms" for edit in (sound, broken)]
        document = read(Source("recipe.tune", text), Path())
        start = time.process_time()
        colours(document)
        middle = time.process_time()
        planned(document)
        later = f"colours {(middle - start) * 1000:.0f} ms, plan and all profiles "
        later += f"{(time.process_time() - middle) * 1000:.0f} ms"
        count = text.count("\n") + 1
        sys.stdout.write(f"| {count:,} lines | {' | '.join(row)} | {limit} ms |  {later}\n")


main()
