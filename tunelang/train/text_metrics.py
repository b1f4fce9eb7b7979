"""An answer against its reference: exact match, F1 of words, ROUGE-L. Pure functions of texts.

Exact match and F1 as SQuAD's evaluation script has them (Rajpurkar et al. 2016, arXiv 1606.05250,
section 6.1): case, punctuation, articles and spacing do not count. ROUGE-L: Lin 2004, "ROUGE: a
package for automatic evaluation of summaries", section 3.1, with beta = 1 and no stemming.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

ARTICLES = re.compile(r"\b(a|an|the)\b")
WORD = re.compile(r"\w+")  # letters of any script, where the rouge-score package keeps a-z only


def normal(text: str) -> str:
    """Lower case, without punctuation and articles, single spaces."""
    bare = "".join(each for each in text.lower() if each not in string.punctuation)
    return " ".join(ARTICLES.sub(" ", bare).split())


def exact_match(answer: str, reference: str) -> float:
    """1 where both are the same once normalised, else 0."""
    return float(normal(answer) == normal(reference))


def f1(answer: str, reference: str) -> float:
    """2 P R / (P + R) over words with their counts; 1 where both are empty."""
    ours, theirs = normal(answer).split(), normal(reference).split()
    if not ours or not theirs:
        return float(ours == theirs)
    shared = (Counter(ours) & Counter(theirs)).total()
    return 2 * shared / (len(ours) + len(theirs))


def rouge_l(answer: str, reference: str) -> float:
    """2 P R / (P + R) with P = LCS / words of the answer and R = LCS / words of the reference."""
    ours, theirs = WORD.findall(answer.lower()), WORD.findall(reference.lower())
    if not ours or not theirs:
        return float(ours == theirs)
    return 2 * longest_common(ours, theirs) / (len(ours) + len(theirs))


def longest_common(first: Sequence[str], second: Sequence[str]) -> int:
    """The length of the longest common subsequence, a row of the table at a time."""
    before = [0] * (len(second) + 1)
    for word in first:
        now = [0]
        for at, other in enumerate(second):
            now.append(before[at] + 1 if word == other else max(before[at + 1], now[at]))
        before = now
    return before[-1]


def win(ours: float, theirs: float) -> float:
    """1 for the higher score, half a win for a tie."""
    return 1.0 if ours > theirs else 0.5 if ours == theirs else 0.0


def mean_and_error(values: Sequence[float]) -> tuple[float, float | None]:
    """The mean, and its standard error s / sqrt(n) with s over n - 1; None for one value."""
    count = len(values)
    mean = sum(values) / count
    if count < 2:
        return mean, None
    spread = sum((value - mean) ** 2 for value in values) / (count - 1)
    return mean, float((spread / count) ** 0.5)
