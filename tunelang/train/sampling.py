"""Replies whose every draw is a function of the seed, the prompt and the reply's number.

Token t of a reply is F^-1(u_t), F the distribution function of the (cut) next-token distribution
and u_t the reply's own stream of uniform numbers. No reply's draws depend on the rows beside it,
so rows can be added, batched otherwise or gone on with after a kill. What batches do change is the
rounding of logits: a draw within about 1e-6 of a boundary can fall on its other side.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tunelang.train import forward
from tunelang.train.generate import Pick, stream
from tunelang.train.generate import Sampling as Limits
from tunelang.train.voice import Voice


@dataclass(frozen=True)
class Sampling:
    """How replies are drawn: at most `most` tokens; temperature 0 takes the likeliest."""

    most: int
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int | None = None
    seed: int = 0


@dataclass(frozen=True)
class Request:
    """A prompt as tokens; `number` tells the replies to one prompt apart."""

    ids: list[int]
    number: int = 0


@dataclass(frozen=True)
class Reply:
    """What a model said, in tokens and as text; `ended` is false where it ran into the limit."""

    ids: list[int]
    text: str
    ended: bool


def replies(voice: Voice, requests: Sequence[Request], sampling: Sampling) -> list[Reply]:
    """The replies to requests that are computed together."""
    limits = Limits(sampling.most, voice.stop)
    pick = picker(requests, sampling, voice.lens.device)
    prompts = [request.ids for request in requests]
    with forward.autocast(voice.lens.precision, voice.lens.device):
        steps = stream(voice.model, prompts, voice.lens.pad, limits, pick)
        drawn = [tokens.tolist() for tokens in steps]
    return [_reply(voice, [row[at] for row in drawn], limits.stop) for at in range(len(requests))]


def _reply(voice: Voice, drawn: list[int], stop: frozenset[int]) -> Reply:
    ends = [place for place, token in enumerate(drawn) if token in stop]
    said = drawn[: ends[0]] if ends else drawn
    return Reply(said, voice.text(said), bool(ends) or voice.over(said))


def picker(requests: Sequence[Request], sampling: Sampling, device: str) -> Pick:
    """Draws the next token of every row."""
    if sampling.temperature == 0:
        return lambda logits, at: logits.argmax(-1)
    streams = [uniforms(request, sampling.seed, sampling.most) for request in requests]
    noise = torch.stack(streams).to(device)  # [B, most]
    return lambda logits, at: inverse(cut(logits / sampling.temperature, sampling), noise[:, at])


def uniforms(request: Request, seed: int, count: int) -> Tensor:
    """The reply's own numbers in [0, 1), [count] in fp64, of seed, prompt and reply number."""
    text = f"{seed}/{request.number}/{','.join(map(str, request.ids))}"
    mark = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big", signed=True)
    return torch.rand(count, generator=torch.Generator().manual_seed(mark), dtype=torch.float64)


def cut(logits: Tensor, sampling: Sampling) -> Tensor:
    """Logits [B, V] with -inf for what top_k, then top_p leave out.

    top_p keeps the smallest set of likeliest tokens whose probability reaches it (Holtzman et al.
    2020, section 3.1), the likeliest one always.
    """
    if sampling.top_k is not None and sampling.top_k < logits.shape[-1]:
        least = torch.topk(logits, sampling.top_k, dim=-1).values[:, -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    if sampling.top_p >= 1:
        return logits
    ordered, order = torch.sort(logits, dim=-1, descending=True)
    share = torch.softmax(ordered.double(), dim=-1)
    outside = share.cumsum(-1) - share >= sampling.top_p  # what stands before it reaches top_p
    outside[:, 0] = False
    return logits.masked_fill(outside.scatter(-1, order, outside), -torch.inf)


def inverse(logits: Tensor, noise: Tensor) -> Tensor:
    """The tokens [B] at which the distribution function of logits [B, V] passes noise [B]."""
    reached = torch.softmax(logits.double(), dim=-1).cumsum(-1)
    wanted = noise[:, None] * reached[:, -1:]
    last = torch.isfinite(logits).long().cumsum(-1).argmax(-1)  # of those that may be drawn
    return torch.minimum((reached <= wanted).sum(-1), last)


def in_groups(requests: Sequence[Request], size: int, start: int = 0) -> Iterator[list[Request]]:
    """Requests in order, `size` at a time, from the `start`-th on."""
    for at in range(start, len(requests), max(1, size)):
        yield list(requests[at : at + max(1, size)])
