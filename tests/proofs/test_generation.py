"""Generation does not depend on its neighbours, and products speak through the worker."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import torch
from workshop import TINY, Shop

from tunelang.train import generate
from tunelang.train.generate import Sampling

PROMPTS = [[5, 6, 7], list(range(20, 45)), [9]]


def test_left_padding_changes_nothing(shop: Shop) -> None:
    """Logits of a batch equal those of each prompt alone to 1e-5, and so do greedy replies."""
    model = shop.load().model
    ids, mask = generate.left_padded(PROMPTS, 0, "cpu")
    together, _cache = generate.step(model, ids, mask, None)
    alone = [
        generate.step(model, *generate.left_padded([prompt], 0, "cpu"), None)[0]
        for prompt in PROMPTS
    ]
    assert float((together - torch.cat(alone)).abs().max()) < 1e-5
    sampling = Sampling(12, frozenset())
    batch = generate.replies(model, PROMPTS, 0, sampling)
    assert batch == [generate.replies(model, [prompt], 0, sampling)[0] for prompt in PROMPTS]


def test_the_cache_changes_nothing(shop: Shop) -> None:
    """Greedy tokens with the cache are those of whole forward passes."""
    model = shop.load().model
    cached = generate.replies(model, [PROMPTS[0]], 0, Sampling(8, frozenset()))[0]
    ids = list(PROMPTS[0])
    for _ in range(8):
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits
        ids.append(int(logits[0, -1].argmax()))
    assert cached == ids[3:]


def test_a_reply_ends_at_its_end_token(shop: Shop) -> None:
    """The end token ends a row and is no part of it; other rows go on."""
    model = shop.load().model
    free = generate.replies(model, PROMPTS, 0, Sampling(12, frozenset()))
    stop = free[0][3]
    ended = generate.replies(model, PROMPTS, 0, Sampling(12, frozenset({stop})))
    for whole, cut in zip(free, ended, strict=True):
        place = whole.index(stop) if stop in whole else len(whole)
        assert cut == whole[:place]


def test_the_same_seed_samples_the_same(shop: Shop) -> None:
    """Temperature 1: equal for equal seeds, different for others."""
    model = shop.load().model
    found = [
        generate.replies(model, PROMPTS, 0, Sampling(12, frozenset(), 1.0, seed))
        for seed in (1, 1, 2)
    ]
    assert found[0] == found[1] != found[2]


def test_the_worker_answers_in_json_lines(shop: Shop) -> None:
    """Two requests, their tokens and their whole texts; a broken request does not end it."""
    requests = [
        {"prompt": "the cat", "max_new_tokens": 4},
        {"messages": [{"role": "user", "content": "the dog"}], "temperature": 0.5, "seed": 1,
         "max_new_tokens": 4},
    ]  # fmt: skip
    command = [sys.executable, "-m", "tunelang.train.generate", "--home", str(shop.home)]
    done = subprocess.run(
        [*command, "--key", TINY, "--precision", "fp32"],
        input="no request\n" + "".join(json.dumps(request) + "\n" for request in requests),
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"},
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    ends = [answer for answer in answers if answer.get("done")]
    assert len(ends) == 2
    assert "failed" in answers[1]
    first = answers[2 : answers.index(ends[0])]
    assert "".join(answer["token"] for answer in first) == ends[0]["text"]
