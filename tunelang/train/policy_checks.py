"""What ppo, grpo and rloo watch over: the start at the reference, scores that are numbers, KL.

A rollout comes in; an event goes out, and a run that cannot be trusted ends. It changes nothing.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tunelang.train.experience import Rollout
from tunelang.train.job import fail
from tunelang.train.policy_run import Run
from tunelang.train.policy_stats import Stats

# How far the first ratio may be from 1. bf16 rounds logits by up to 1/256 of their size and the
# old log-probabilities were computed in other micro-batches: logits of 20 are off by 0.08.
RATIO = {"fp32": 1e-3, "bf16": 0.2}
FIRST_KL = {"fp32": 1e-3, "bf16": 0.05}  # nats a token, before any update; bf16 as above
LEASH = 5.0  # times the target: the policy has left
BELOW = -0.1  # nats a reply: KL is never negative, so other tokens are counted than were drawn
PATIENCE = 3  # iterations in a row


def begins_at_reference(this: Run, found: Rollout) -> None:
    """Before any update the KL to a reference that is the policy's start is 0."""
    if this.step.inputs["reference"] != this.step.inputs["policy"]:
        return
    off = abs(float(((found.old - found.reference) * found.mask).sum() / found.mask.sum()))
    message = f"the KL to the reference is {off:.4f} nats a token before the first update"
    trouble = (message, "the reference is not the policy's start")
    this.job.check("first-kl-is-zero", off, off <= FIRST_KL[this.who.lens.precision], trouble)


def trained_as_drawn(this: Run, found: Rollout) -> None:
    """Training sees the probabilities that replies were drawn with: no truncated sampling, no
    other temperature, no other positions (TRL issues 235, 736, 1005)."""
    drawn = [row.drawn for row in found.rows if row.drawn is not None]
    if len(drawn) < len(found.rows):
        return
    gap = (found.old * found.mask).sum(1).cpu() - torch.tensor(drawn)
    off = float(gap.abs().sum() / found.mask.sum())
    message = f"replies are drawn with other probabilities than are trained: {off:.4f} nats a token"
    trouble = (message, "the model computes otherwise with a cache, or with padding on the left")
    this.job.check("trained-as-drawn", off, off <= FIRST_KL[this.who.lens.precision], trouble)


def rewards_are_finite(this: Run, scores: Tensor) -> None:
    """Every score is a number: told once, and looked at in every iteration."""
    share = float(torch.isfinite(scores).float().mean())
    if this.state.at == 0 or share < 1:
        trouble = ("the reward gives scores that are no numbers", "train its stage at a lower lr")
        this.job.check("rewards-are-finite", share, share == 1, trouble)
    if this.state.at == 0 and len(scores) > 1 and float(scores.max() - scores.min()) == 0:
        this.job.warn("every reply of the first rollout has the same score: nothing to learn from")


def first_ratio_is_one(this: Run, stats: Stats) -> None:
    """Before the first update, training computes the log-probabilities that sampling had."""
    off = stats.first_ratio - 1
    trouble = (f"the first probability ratio is off by {off:.4f}", "")
    ok = off <= RATIO[this.who.lens.precision]
    this.job.check("first-ratio-is-one", stats.first_ratio, ok, trouble)


def leash(this: Run, found: Rollout) -> None:
    """A policy that stays far beyond the target, or below zero, is no longer what is measured.

    One iteration is told; PATIENCE in a row end the run (TRL's FAQ; its issue 204).
    """
    target, kl = this.fields["kl"]["target"], found.kl
    strained = below_zero(found) or (target is not None and kl > LEASH * target)
    this.state.strained = this.state.strained + 1 if strained else 0
    if strained:
        this.job.warn(f"KL to the reference is {kl:.2f} nats a reply at iteration {this.state.at}")
    if this.state.strained >= PATIENCE:
        message = (
            f"KL to the reference was {kl:.2f} nats a reply, and {PATIENCE} times out of range"
        )
        fail("TL791", "policy-left-reference", message, "lower lr, or raise kl.coefficient")


def below_zero(found: Rollout) -> bool:
    """Is the mean KL below -0.1 by more than two standard errors, which chance explains?"""
    each = found.kls()
    error = float(each.std()) / math.sqrt(len(each)) if len(each) > 1 else 0.0
    return found.kl + 2 * error < BELOW
