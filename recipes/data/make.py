"""Write the data sets of the Hollin support desk, the same bytes every time.

In come hollin.toml (what is true) and phrases.toml (how it is said), both written by hand; out go
.jsonl files beside them. `python recipes/data/make.py` runs no model and needs no network.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

HERE = Path(__file__).parent
PARTS: dict[str, Any] = tomllib.loads((HERE / "hollin.toml").read_text("utf-8"))
PHRASES: dict[str, Any] = tomllib.loads((HERE / "phrases.toml").read_text("utf-8"))
POOL: dict[str, list[str]] = PHRASES.pop("pool")
MARK = "Next step: "  # the manner of the desk: a good reply ends with one
PROMPTS = 240
COMPARED = 160  # questions with four ranked replies, and with one that is judged


@dataclass(frozen=True)
class Fact:
    """One thing to know about one part; `words` fill the phrases of its topic."""

    topic: str
    words: dict[str, str]

    def say(self, manner: str, random: Random) -> str:
        """A phrase of the topic, its first letter large."""
        part = self.words["part"]
        said = random.choice(PHRASES[self.topic][manner]).format(**self.words)
        if part[0] in "aeiou":
            said = said.replace(f"a {part}", f"an {part}").replace(f"A {part}", f"An {part}")
        return said[0].upper() + said[1:]


def facts() -> list[Fact]:
    """Every topic of every part, each once."""
    return [fact for part in PARTS for fact in _facts_of(part)]


def _facts_of(part: str) -> Iterator[Fact]:
    about = PARTS[part]
    for topic in PHRASES:
        if topic != "issue":
            yield Fact(topic, {"part": part, "what": about["what"], "value": about[topic]})
    for seen, why, step in about["issues"]:
        words = {"part": part, "what": about["what"], "seen": seen, "value": why, "step": step}
        yield Fact("issue", words)


def texts(random: Random) -> list[dict[str, Any]]:
    """The handbook: a passage a fact."""
    return [{"text": fact.say("text", random)} for fact in facts()]


def conversations(random: Random) -> list[dict[str, Any]]:
    """A question and its reply; every other reply of a topic ends with a next step."""
    rows = []
    for number, fact in enumerate(facts()):
        ending = next_step(fact, random) if number % 2 else _or_nothing("bland", random)
        reply = f"{fact.say('answer', random)} {ending}".strip()
        rows.append([_turn("user", question(fact, "talk", random)), _turn("assistant", reply)])
    return [{"messages": turns} for turns in rows]


def _turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def question(fact: Fact, manner: str, random: Random) -> str:
    """A question, one in four with a greeting and one in six with thanks."""
    opening = random.choice(POOL["opening"]) if random.random() < 1 / 4 else ""
    closing = random.choice(POOL["closing"]) if random.random() < 1 / 6 else ""
    return f"{opening}{fact.say(manner, random)}{closing}"


def next_step(fact: Fact, random: Random) -> str:
    """`Next step: ` and what to do."""
    step = fact.say("step", random)
    return f"{MARK}{step[0].lower()}{step[1:]}."


def _or_nothing(pool: str, random: Random) -> str:
    return random.choice(POOL[pool]) if random.random() < 2 / 3 else ""


def preferences(random: Random) -> list[dict[str, Any]]:
    """Pairs: the chosen reply answers, names the part and ends with a next step."""
    known, rows = facts(), []
    for number, fact in enumerate(known):
        chosen = f"{fact.say('answer', random)} {next_step(fact, random)}"
        other = random.choice([each for each in known if each.words["part"] != fact.words["part"]])
        worse = WORSE[number % len(WORSE)](fact, other, random)
        asked = question(fact, "pair", random)
        rows.append({"prompt": asked, "chosen": chosen, "rejected": worse.strip()})
    return rows


def unfinished(fact: Fact, _other: Fact, random: Random) -> str:
    """The answer, and no next step."""
    return f"{fact.say('answer', random)} {_some('bland', random)}"


def nameless(fact: Fact, _other: Fact, random: Random) -> str:
    """The answer without the part's name, and no next step."""
    part, answer = fact.words["part"], fact.say("answer", random)
    for article in ("The", "the", "Your", "your", "An", "an", "A", "a"):
        answer = answer.replace(f"{article} {part}", "It" if article[0].isupper() else "it")
    return f"{answer} {_some('bland', random)}"


def vague(_fact: Fact, _other: Fact, random: Random) -> str:
    """No answer."""
    return f"{' '.join(random.sample(POOL['vague'], 2))} {random.choice(POOL['bland'])}"


def rude(fact: Fact, _other: Fact, random: Random) -> str:
    """The answer, unkindly."""
    first, last = random.sample(POOL["rude"], 2)
    return f"{first} {fact.say('answer', random)} {last if random.random() < 2 / 3 else ''}"


def beside(_fact: Fact, other: Fact, random: Random) -> str:
    """A good reply to another question."""
    return f"{other.say('answer', random)} {next_step(other, random)}"


def hasty(fact: Fact, _other: Fact, random: Random) -> str:
    """One next step or two, and no answer: the manner alone does not make a good reply."""
    step = next_step(fact, random)
    return f"{step} {next_step(fact, random)}" if random.random() < 1 / 2 else step


def pushy(fact: Fact, _other: Fact, random: Random) -> str:
    """The answer and more than one next step."""
    return f"{fact.say('answer', random)} {next_step(fact, random)} {next_step(fact, random)}"


def _some(pool: str, random: Random) -> str:
    """One to three sentences: rejected replies are as long as chosen ones."""
    return " ".join(random.sample(POOL[pool], random.choice((1, 2, 2, 3))))


# Half have a next step and are not good: its words alone must not win.
WORSE: tuple[Callable[[Fact, Fact, Random], str], ...] = (
    unfinished,
    hasty,
    nameless,
    vague,
    pushy,
    beside,
    rude,
    hasty,
)


RANKED_LAST = (vague, rude, beside, hasty)


def prompts(random: Random) -> list[dict[str, Any]]:
    """What the policy is asked, in words that no conversation and no preference uses."""
    return [{"prompt": question(fact, "ask", random)} for fact in random.sample(facts(), PROMPTS)]


# Who answers a question, by its topic.
DESKS = {
    "setup": ("job", "place", "fit", "power"),
    "care": ("clean", "wear", "winter", "store"),
    "parts": ("tool", "spare"),
    "trouble": ("issue", "light", "reset", "limit", "never"),
}


def desks(random: Random) -> list[dict[str, Any]]:
    """Questions, and the desk that each is for."""
    by_topic = {topic: desk for desk, topics in DESKS.items() for topic in topics}
    return [
        {"text": question(fact, "talk", random), "label": by_topic[fact.topic]} for fact in facts()
    ]


def ranked(random: Random) -> list[dict[str, Any]]:
    """Four replies to one question: a good one, one without its next step, two that are worse."""
    known, rows = facts(), []
    for number, fact in enumerate(random.sample(known, COMPARED)):
        other = random.choice([each for each in known if each.words["part"] != fact.words["part"]])
        bad = [RANKED_LAST[(number + more) % len(RANKED_LAST)] for more in range(2)]
        replies = [f"{fact.say('answer', random)} {next_step(fact, random)}"]
        replies += [make(fact, other, random).strip() for make in (unfinished, *bad)]
        order = random.sample(range(4), 4)
        asked = question(fact, "pair", random)
        ranks = [min(at + 1, 3) for at in order]  # neither of the last two is better
        rows.append({"prompt": asked, "replies": [replies[at] for at in order], "ranks": ranks})
    return rows


def feedback(random: Random) -> list[dict[str, Any]]:
    """One reply to a question, every other one of them good."""
    known, rows = facts(), []
    for number, fact in enumerate(random.sample(known, COMPARED)):
        other = random.choice([each for each in known if each.words["part"] != fact.words["part"]])
        good = number % 2 == 0
        reply = f"{fact.say('answer', random)} {next_step(fact, random)}"
        if not good:
            reply = WORSE[number // 2 % len(WORSE)](fact, other, random).strip()
        rows.append({"prompt": question(fact, "pair", random), "reply": reply, "good": good})
    return rows


def write(folder: Path) -> None:
    """All files, rows in an order without pattern."""
    for make in (texts, conversations, preferences, prompts, desks, ranked, feedback):
        random = Random(make.__name__)
        rows = make(random)
        random.shuffle(rows)
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / f"{make.__name__}.jsonl").write_text(lines, encoding="utf-8")


if __name__ == "__main__":
    write(HERE)
