"""The metrics that gates and closing tables speak of: their unit and which way is better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Metric:
    name: str
    unit: Literal["ratio", "number", "tokens"]
    better: Literal["less", "more", "neither"]
    doc: str


METRICS = {
    metric.name: metric
    for metric in (
        Metric("loss", "number", "less", "mean cross-entropy per trained token, in nats"),
        Metric("perplexity", "number", "less", "e to the mean cross-entropy per token"),
        Metric("general_perplexity", "number", "less", "perplexity on the stage's general text"),
        Metric("forgetting", "number", "less", "rise of the loss on general text, nats a token"),
        Metric("token_accuracy", "ratio", "more", "share of trained tokens predicted first"),
        Metric("template_loss", "number", "less", "loss in wordings that were not trained"),
        Metric(
            "template_accuracy", "ratio", "more", "token accuracy in wordings that were not trained"
        ),
        Metric(
            "accuracy",
            "ratio",
            "more",
            "share of pairs in which the chosen reply scores higher, or of rows classified right",
        ),
        Metric("macro_f1", "ratio", "more", "F1 of each class, averaged over classes"),
        Metric("margin", "number", "more", "mean score of the chosen minus the rejected reply"),
        Metric(
            "kendall_tau", "number", "more", "pairs in the right order minus those in the wrong"
        ),
        Metric(
            "calibration_error",
            "ratio",
            "less",
            "how far a judge's confidence is from its accuracy",
        ),
        Metric("shorter_accuracy", "ratio", "more", "accuracy where the better reply is shorter"),
        Metric("longer_accuracy", "ratio", "more", "accuracy where the better reply is longer"),
        Metric(
            "length_correlation", "number", "neither", "correlation of score and length of a reply"
        ),
        Metric("reward", "number", "more", "mean score of the reward model"),
        Metric("kl", "number", "less", "mean KL divergence to the reference per reply, in nats"),
        Metric("mean_length", "tokens", "neither", "mean length of a reply"),
        Metric("exact_match", "ratio", "more", "share of answers that are the reference reply"),
        Metric("f1", "ratio", "more", "words that an answer shares with the reference reply"),
        Metric("distinct", "ratio", "more", "share of replies that no other to the prompt repeats"),
        Metric("unfinished", "ratio", "less", "share of replies that ran into their limit"),
        Metric("best_reward", "number", "more", "mean score of the best reply to each prompt"),
        Metric("rouge_l", "ratio", "more", "longest common subsequence with the reference reply"),
        Metric("score", "ratio", "more", "a benchmark's score"),
        Metric("drop", "ratio", "less", "what a benchmark's score loses against `versus`"),
        Metric("win_rate", "ratio", "more", "share of replies that score above the reference's"),
    )
}


def of(text: str) -> Metric | None:
    """The metric that a measure such as `perplexity(replay.hold_out)` takes."""
    return METRICS.get(text.split("(", 1)[0])
