"""A run of ppo, grpo or rloo in hand: its roles, prompts and numbers; replies drawn and scored.

It knows no optimizers' steps and no checkpoints; `policy_loop.py` turns the handle.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from tunelang.estimate.sampling import AT_ONCE
from tunelang.plan.ir import Schedule, Step
from tunelang.run.store import write_json
from tunelang.train import data
from tunelang.train.engines.engine import Engine
from tunelang.train.experience import Algorithm, Settings, log_probabilities_of
from tunelang.train.generate import Sampling, until_stop
from tunelang.train.job import Job
from tunelang.train.pretraining import Texts
from tunelang.train.reward_functions import Reply, Scorer
from tunelang.train.roles import Cast, score, whole
from tunelang.train.rollout import Episode, sample
from tunelang.train.speech import Speech

MEASURED = 1_000_003  # added to the seed of held-out sampling, apart from those of training


@dataclass(frozen=True)
class Asked:
    """A prompt as it was read, as tokens, and the answer that its row holds."""

    words: Any
    ids: list[int]
    answer: str | None = None


@dataclass
class State:
    """What changes over a run, beside weights."""

    coefficient: float
    at: int = 0
    strained: int = 0
    series: list[dict[str, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Run:
    """A run: what the recipe says, the roles, the prompts, and how replies are judged.

    `function` scores where no reward model does; `texts` are mixed in by ppo.
    """

    step: Step
    job: Job
    schedule: Schedule
    who: Cast
    algorithm: Algorithm
    speech: Speech
    parts: list[data.Split[Asked]]
    state: State
    function: Scorer | None = None
    texts: Texts | None = None

    @property
    def fields(self) -> dict[str, Any]:
        return self.step.fields

    @property
    def engine(self) -> Engine:
        return self.who.policy.engine

    @property
    def settings(self) -> Settings:
        return self.algorithm.settings

    @property
    def stop(self) -> frozenset[int]:
        """Tokens that end a reply: for sampling and for the penalty alike (TRL issue 5338)."""
        return frozenset(self.speech.stop)

    @property
    def group(self) -> int:
        """Replies to each prompt of a rollout."""
        return int(self.fields["rollout"].get("group", 1))


def switch(this: Run) -> None:
    """Evaluation mode everywhere: dropout would make the ratio differ from 1 by itself."""
    who = this.who
    others = [held.role for held in (who.critic, who.judge) if held]
    for role in (who.policy, who.reference, *others):
        role.model.eval()


@dataclass(frozen=True)
class Piece:
    """Rows of a chunk of `size` that begins at `start`: what one process draws at once."""

    start: int
    size: int
    rows: range


def pieces(count: int, world: int) -> list[Piece]:
    """Chunks of what is sampled at once, cut where there are fewer of them than processes."""
    chunks = [(start, min(AT_ONCE, count - start)) for start in range(0, count, AT_ONCE)]
    cuts = -(-world // len(chunks))
    return [
        Piece(start, size, range(at, min(at + -(-size // cuts), size)))
        for start, size in chunks
        for at in range(0, size, -(-size // cuts))
    ]


def draw(this: Run, asked: Sequence[Asked], seed: int) -> list[Episode]:
    """One reply to every prompt; prompts of like length go together.

    Every process draws its share and gets the whole; no reply depends on how many there are.
    """
    order = sorted(range(len(asked)), key=lambda at: len(asked[at].ids))
    prompts, engine = [asked[at].ids for at in order], this.engine
    cut = pieces(len(order), engine.world)
    with whole(this.who.policy) as model:
        mine = [drawn(this, model, (piece, prompts), seed) for piece in engine.share(cut)]
    rows = [row for piece in engine.together(mine)[: len(cut)] for row in piece]
    found = dict(zip(order, rows, strict=True))
    return [found[at] for at in range(len(asked))]


def drawn(this: Run, model: Any, asked: tuple[Piece, list[list[int]]], seed: int) -> list[Episode]:
    """Replies to the prompts of a piece, by its chunk's own seed."""
    piece, prompts = asked
    most, heat = this.fields["rollout"]["reply"], this.settings.temperature
    sampling = Sampling(most, this.stop, heat, seed + piece.start)
    first, last = piece.start + piece.rows.start, piece.start + piece.rows.stop
    return sample(model, prompts[first:last], this.who.lens, sampling, (piece.rows, piece.size))


def scored(this: Run, asked: Sequence[Asked], episodes: Sequence[Episode]) -> Tensor:
    """Scores [B] of replies by the reward model or the function, as they are."""
    if this.who.judge is not None:
        return score(this.who.judge, episodes, this.who.lens)
    assert this.function is not None
    read = [this.function(_read(this, *pair)) for pair in zip(asked, episodes, strict=True)]
    return torch.tensor(read, device=this.who.lens.device)


def _read(this: Run, asked: Asked, episode: Episode) -> Reply:
    said = until_stop(episode.reply, this.stop)
    text = this.speech.tokenizer.decode(said, skip_special_tokens=True)
    return Reply(text, len(said), asked.answer)


def judged(this: Run, asked: Sequence[Asked], episodes: Sequence[Episode]) -> Tensor:
    """Scores [B] to learn from: clipped where the recipe says so, endless replies penalised."""
    found = scored(this, asked, episodes)
    most = this.fields["clip_rewards"]
    if most is not None:
        found = found.clamp(-most, most)
    endless = torch.tensor([not row.ended for row in episodes], device=found.device)
    return found + endless * float(this.fields["penalty"]["no_end_of_text"])


def measure(this: Run, asked: Sequence[Asked]) -> dict[str, float]:
    """Held-out metrics of sampled replies: the same seed for policy and reference, every time.

    `reward` and its standard error, `kl` in nats a reply, `mean_length` in tokens, `win_rate`
    against the reference's replies (ties count half).
    """
    if not asked:
        return {}
    switch(this)
    seed = this.step.seed + MEASURED
    episodes = draw(this, asked, seed)
    scores = scored(this, asked, episodes)
    theirs = reference_scores(this, asked, scores)
    own = log_probabilities_of(this.who.policy, episodes, this.who.lens, this.settings)
    base = log_probabilities_of(this.who.reference, episodes, this.who.lens, this.settings)
    wins = (scores > theirs).float() + 0.5 * (scores == theirs).float()
    error = float(scores.std()) / math.sqrt(len(scores)) if len(scores) > 1 else 0.0
    return {
        "reward": float(scores.mean()),
        "reward_se": error,
        "kl": float((own - base).sum(1).mean()),
        "mean_length": sum(len(row.reply) for row in episodes) / len(episodes),
        "win_rate": float(wins.mean()),
    }


def reference_scores(this: Run, asked: Sequence[Asked], own: Tensor) -> Tensor:
    """Scores of the reference's replies: taken once a step, for they never change.

    `asked` are all the measured prompts the first time, and later all or the first few of them.
    Before the first update a policy that starts at its reference gives the same replies. What one
    process has noted, all are told: no two may find a file and another not.
    """
    path = this.job.work / "reference-scores.json"
    here = this.job.leads and path.is_file()
    noted = this.engine.together([json.loads(path.read_text("utf-8")) if here else None])[0]
    if noted is not None:
        return torch.tensor(noted[: len(asked)], device=own.device)
    same = this.step.inputs["reference"] == this.step.inputs["policy"]
    if same and this.state.at == 0 and this.job.resume is None:
        found = own
    else:
        other = replace(this, who=replace(this.who, policy=this.who.reference))
        drawn = draw(other, asked, this.step.seed + MEASURED)
        found = scored(this, asked, drawn)
    if this.job.leads:
        write_json(path, found.tolist())
    return found
