"""Episodes: replies sampled from a policy, and their tokens as tensors for scoring and training.

No top-k or top-p: log-probabilities are those of the distribution that was sampled from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tunelang.train import forward
from tunelang.train.evaluate import Lens
from tunelang.train.generate import Sampling, stream
from tunelang.train.losses import log_probabilities


@dataclass(frozen=True)
class Episode:
    """A prompt and the reply to it, the token that ends it included if it ends.

    `drawn` is the log-probability of the reply, in nats, at the moment it was drawn.
    """

    prompt: list[int]
    reply: list[int]
    ended: bool
    drawn: float | None = None

    @property
    def ids(self) -> list[int]:
        return self.prompt + self.reply


@dataclass(frozen=True)
class Episodes:
    """A batch of episodes as tensors: `ids` [B, T] padded right; [B, R] for tokens of replies.

    `reads[b, r]` is the position whose hidden state predicts token r of reply b.
    """

    rows: Sequence[Episode]
    ids: Tensor
    reads: Tensor
    tokens: Tensor
    mask: Tensor

    def part(self, chosen: Sequence[int]) -> Episodes:
        """Some of the episodes, cut to what they need."""
        return collate(
            [self.rows[at] for at in chosen], 0, str(self.ids.device), self.mask.shape[1]
        )


def sample(
    model: Any,
    prompts: Sequence[list[int]],
    lens: Lens,
    sampling: Sampling,
    among: tuple[range, int] | None = None,
) -> list[Episode]:
    """One reply to each prompt, in micro-batches that the caller chose by how many it passes.

    `among` says which rows the prompts are of how many that share a seed: every row has its own
    noise, so that no draw depends on how the rows are parted over processes.
    """
    rows, count = among or (range(len(prompts)), len(prompts))
    generator = torch.Generator(lens.device).manual_seed(sampling.seed)
    logs: list[Tensor] = []

    def pick(logits: Tensor, _at: int) -> Tensor:
        noise = torch.empty(count, logits.shape[1], device=logits.device)
        noise = noise.exponential_(generator=generator)[rows.start : rows.stop]
        token = raced(logits, sampling.temperature, noise)
        logs.append(log_probabilities(logits / (sampling.temperature or 1.0), token))
        return token

    with forward.autocast(lens.precision, lens.device):
        drawn = [step.tolist() for step in stream(model, prompts, lens.pad, sampling, pick)]
    said = torch.stack(logs, dim=1).tolist()  # [B, R]
    return [
        _episode(prompt, [row[at] for row in drawn], said[at], sampling.stop)
        for at, prompt in enumerate(prompts)
    ]


def raced(logits: Tensor, temperature: float, noise: Tensor) -> Tensor:
    """A token [B] for each row of logits [B, V] and exponential noise [B, V].

    The first of V exponential clocks of rates p is i with probability p_i, which is how
    torch.multinomial draws one of each row; here the noise is given.
    """
    if temperature == 0:
        return logits.argmax(-1)
    return (torch.softmax(logits / temperature, dim=-1) / noise).argmax(-1)


def _episode(
    prompt: list[int], drawn: list[int], logs: list[float], stop: frozenset[int]
) -> Episode:
    ends = [place for place, token in enumerate(drawn) if token in stop]
    reply = drawn[: ends[0] + 1] if ends else drawn
    return Episode(prompt, reply, bool(ends), sum(logs[: len(reply)]))


def collate(rows: Sequence[Episode], pad: int, device: str, width: int | None = None) -> Episodes:
    """Tensors of a batch; `width` is R, else the longest reply."""
    longest = max(len(row.ids) for row in rows)
    most = width or max(len(row.reply) for row in rows)
    ids = torch.tensor([row.ids + [pad] * (longest - len(row.ids)) for row in rows], device=device)
    starts = torch.tensor([len(row.prompt) for row in rows], device=device)
    lengths = torch.tensor([len(row.reply) for row in rows], device=device)
    steps = torch.arange(most, device=device)
    mask = steps[None] < lengths[:, None]
    reads = (starts[:, None] - 1 + steps[None]).clamp(max=longest - 1)
    tokens = ids.gather(1, (reads + 1).clamp(max=longest - 1))
    return Episodes(rows, ids, reads, tokens, mask)


def hidden_at_reads(model: Any, episodes: Episodes, lens: Lens) -> Tensor:
    """Hidden states [N, H] that predict the N real tokens of the replies, row by row."""
    with forward.autocast(lens.precision, lens.device):
        hidden = forward.hidden_states(model, episodes.ids)  # [B, T, H]
    rows = torch.arange(len(episodes.ids), device=hidden.device)[:, None].expand_as(episodes.reads)
    picked: Tensor = hidden[rows[episodes.mask], episodes.reads[episodes.mask]]
    return picked


def reply_logits(model: Any, episodes: Episodes, lens: Lens, temperature: float) -> Tensor:
    """Logits [N, V] of the N real reply tokens, divided by the temperature they are sampled at.

    The same division in policy, old policy and reference, or ratios and KL would be of other
    distributions.
    """
    if forward.has_plain_head(model):
        hidden = hidden_at_reads(model, episodes, lens)
        with forward.autocast(lens.precision, lens.device):
            logits: Tensor = forward.causal(model).get_output_embeddings()(hidden)
        return logits.float() / temperature
    with forward.autocast(lens.precision, lens.device):
        whole = forward.causal(model)(input_ids=episodes.ids, use_cache=False).logits
    rows = torch.arange(len(whole), device=whole.device)[:, None].expand_as(episodes.reads)
    picked: Tensor = whole[rows[episodes.mask], episodes.reads[episodes.mask]].float()
    return picked / temperature


def reply_log_probabilities(
    model: Any, episodes: Episodes, lens: Lens, temperature: float
) -> Tensor:
    """Log-probabilities [N] of the N real reply tokens."""
    return log_probabilities(
        reply_logits(model, episodes, lens, temperature), episodes.tokens[episodes.mask]
    )
