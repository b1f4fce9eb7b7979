"""P23: prompts padded on the left give the logits they give alone, with absolute positions too.

Seen to fail: without `position_ids` in `generate.step`, which the second test shows for gpt2.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from tunelang.train import generate
from tunelang.train.evaluate import Lens
from tunelang.train.experience import Settings, log_probabilities_of
from tunelang.train.generate import Sampling
from tunelang.train.roles import Role
from tunelang.train.rollout import Episode, sample

PROMPTS = [[5, 6, 7], [8, 9, 10, 11, 12, 13, 14, 15, 16], [17]]


def gpt2() -> Any:
    """Learnt absolute positions, large enough to tell."""
    torch.manual_seed(0)
    shape = GPT2Config(
        vocab_size=40, n_embd=32, n_layer=2, n_head=2, n_positions=32, initializer_range=0.3
    )
    return GPT2LMHeadModel(shape).eval()


def llama() -> Any:
    torch.manual_seed(0)
    shape = LlamaConfig(
        vocab_size=40,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=32,
        initializer_range=0.3,
    )
    return LlamaForCausalLM(shape).eval()


@pytest.mark.parametrize("make", [gpt2, llama])
def test_logits_beside_longer_prompts_are_those_alone(make: Any) -> None:
    """Within 1e-6 of the largest logit."""
    model = make()
    together, _ = generate.step(model, *generate.left_padded(PROMPTS, 0, "cpu"), None)
    for at, prompt in enumerate(PROMPTS):
        alone, _ = generate.step(model, *generate.left_padded([prompt], 0, "cpu"), None)
        assert (together[at] - alone[0]).abs().max() < 1e-6 * alone.abs().max() + 1e-6


def test_without_position_ids_gpt2_would_be_wrong() -> None:
    """What is guarded against is large: the same batch with positions counted from the padding."""
    model = gpt2()
    ids, mask = generate.left_padded(PROMPTS, 0, "cpu")
    right, _ = generate.step(model, ids, mask, None)
    counted = torch.arange(ids.shape[1])[None].expand_as(ids)
    wrong = model(input_ids=ids, attention_mask=mask, position_ids=counted).logits[:, -1]
    assert (right[0] - wrong[0]).abs().max() > 0.1
    assert (right[1] - wrong[1]).abs().max() < 1e-5  # the longest has no padding


@pytest.mark.parametrize("make", [gpt2, llama])
def test_what_is_sampled_padded_is_what_is_trained_on(make: Any) -> None:
    """Greedy replies drawn beside longer prompts are the likeliest ones under the log-probabilities
    of training, which pads on the right."""
    model, lens = make(), Lens("fp32", "cpu", 0)
    drawn = sample(model, PROMPTS, lens, Sampling(4, frozenset(), 0.0, 0))
    settings = Settings(temperature=1.0, epochs=1, minibatches=1, micro=3, max_grad_norm=1.0)
    for row in drawn:
        others = [Episode(row.prompt, [*row.reply[:-1], token], False) for token in range(40)]
        logs = log_probabilities_of(Role(model, None), others, lens, settings)
        assert int(logs[:, -1].argmax()) == row.reply[-1]
