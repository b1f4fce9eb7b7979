"""What a training step keeps in memory that depends on library versions: `stacks/*.toml` by name.

A record holds every constant of the memory estimate that is neither arithmetic of the model nor of
the recipe. A new pin gets a record of its own; nothing in `estimate/` changes.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).with_name("stacks")
OURS = "tunelang-0.1"  # what this project's own worker does


@dataclass(frozen=True)
class Stack:
    """Bytes that libraries keep. Widths are of bf16 computation unless they say otherwise.

    How it computes:
    - `autocast`: weights stay as they are held, and products are computed in bf16 beside them.
    - `adapter`: bytes of a weight of an adapter (4: PEFT's autocast_adapter_dtype);
      `adapter_input` of an element of the copy of its input that each target keeps for itself.
    - `upcast`: k-bit preparation holds norms, embeddings and hidden states in fp32.

    The loss, bytes a logit (`estimate/loss.py`):
    - `logit_forward` at the end of forward, `logit_backward` at the worst moment of its backward;
      `logit_kept` more where the caller keeps the model's outputs.
    - `piece_logits` (a piece has so many logits), `piece_tokens` (so many tokens), `piece_count`
      (a micro-batch has so many pieces): how a chunked loss is cut, the first that is not 0 counts;
      `logit_piece` bytes a logit of the one piece that is alive.
    - `compared`: the same for log-probabilities that comparisons are made of; `reply_forward` and
      `reply_backward` for those of a policy's replies, all at once.
    - `fused_logit`: the same for a fused linear cross-entropy, whose pieces follow Liger's rule.

    What a layer saves for its backward, bytes an element:
    - `norm_full`, `norm_frozen`: of a norm's input where its weight trains and where it is frozen;
      `norm_wide_full`, `norm_wide_frozen`: over fp32 hidden states; `norm_token` for each token.
    - `mlp_full`, `mlp_frozen`: of the feed-forward's inner width.
    - `linear_input`: of every frozen linear layer's input (2 in old bitsandbytes, else 0).
    - `attention_square`: of each head's score matrix (6 in eager attention, 0 in fused kernels);
      `kv_repeated`: keys and values are kept once for every head of queries.
    - `expert_linears`: each routed expert is made of linear layers, which few bits are for.

    States and their movement:
    - `foreach`: the optimizer makes one temporary of the size of all that trains.
    - `bucket_view`: DDP's buckets are the gradients, else there is one more copy of them.
    - `fsdp` (1 or 2); `fsdp_root`: embedding and head are one unit that stays gathered through the
      step.
    - `zero_bucket`: elements of one of DeepSpeed's buckets; `zero_buckets` of them are held in
      stage 1 and 2, and `zero_live` elements of gathered weights in stage 3 beside two buckets.
    """

    name: str
    autocast: bool
    adapter: int
    adapter_input: float
    upcast: bool
    logit_forward: float
    logit_backward: float
    logit_kept: float
    piece_logits: int
    piece_tokens: int
    piece_count: int
    logit_piece: float
    compared: float
    reply_forward: float
    reply_backward: float
    fused_logit: float
    norm_full: float
    norm_frozen: float
    norm_wide_full: float
    norm_wide_frozen: float
    norm_token: float
    mlp_full: float
    mlp_frozen: float
    linear_input: float
    attention_square: float
    kv_repeated: bool
    expert_linears: bool
    foreach: bool
    bucket_view: bool
    fsdp: int
    fsdp_root: bool
    zero_bucket: int
    zero_buckets: int
    zero_live: int


@cache
def find(name: str) -> Stack:
    """The record of a name. KeyError where there is none."""
    return Stack(name=name, **_fields(name))


def _fields(name: str) -> dict[str, Any]:
    """A record's fields; `like` names another that it takes all it does not say from."""
    path = FOLDER / f"{name}.toml"
    if not path.is_file():
        raise KeyError(name)
    said = tomllib.loads(path.read_text(encoding="utf-8"))
    base = said.pop("like", None)
    return {**_fields(base), **said} if base else said


@cache
def names() -> tuple[str, ...]:
    """All records, sorted."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))
