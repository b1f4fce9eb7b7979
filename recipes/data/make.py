"""Write the four data sets of the Hollin support desk, the same bytes every time.

Hollin home weather stations do not exist. Everything here was written by hand for TuneLang and
combined by this script: `python recipes/data/make.py` writes the files beside it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

HERE = Path(__file__).parent

# part -> what it is, then (what the customer sees, why, what to do next)
PARTS: dict[str, tuple[str, list[tuple[str, str, str]]]] = {
    "driftcup": (
        "the rain gauge, a tipping cup under a wide funnel",
        [
            ("shows no rain", "the funnel is blocked by leaves", "lift the lid and rinse the funnel"),
            ("counts rain on dry days", "the cup shakes in the wind", "tighten the two collar screws"),
            ("reads far too little", "the cup is not level", "level the cup with the bubble mark"),
            ("is frozen over", "the heater strip is switched off", "turn on winter mode in the lodebox menu"),
            ("clicks all night", "dew runs into the cup", "dry the hinge and add the drip ring"),
        ],
    ),
    "windspur": (
        "the wind sensor, a spinning fork on top of the mast",
        [
            ("does not spin", "grit sits in the lower bearing", "blow the bearing clean and oil it once"),
            ("points the wrong way", "the north notch was set by eye", "turn the north notch with a compass"),
            ("shows gusts that are not there", "the mast wobbles", "add the second guy rope"),
            ("squeaks", "the bearing is dry", "put one drop of silicone oil on the shaft"),
            ("stops at night", "the cell is too cold", "swap in the lithium cell"),
        ],
    ),
    "lodebox": (
        "the base unit that collects every reading indoors",
        [
            ("will not start", "the fuse in the plug has gone", "replace the plug fuse with a 3 amp one"),
            ("shows code 14", "its memory card is full", "export the log and clear the card"),
            ("loses the time", "the clock cell is flat", "change the small clock cell under the lid"),
            ("gets warm", "the vents are covered", "move it away from the curtain"),
            ("beeps every hour", "a low battery waits for you", "open the battery page and look for red"),
        ],
    ),
    "tarnplate": (
        "the solar panel that feeds the mast",
        [
            ("charges too slowly", "dust covers the glass", "wipe the glass with a damp cloth"),
            ("does not charge at all", "the lead is not pushed home", "press the lead in until it clicks"),
            ("rattles in the wind", "a clip is loose", "snap the lower clip shut"),
            ("blinks amber", "it stands in shade past noon", "turn it toward the south"),
            ("has a wet connector", "the rubber boot slipped", "dry it and push the boot back"),
        ],
    ),
    "skeinlink": (
        "the radio link between the mast and the house",
        [
            ("drops out every evening", "a neighbour uses the same channel", "change the channel to 7"),
            ("never connects", "the pairing code is old", "hold the pair button for five seconds"),
            ("is slow", "a metal shed is in the way", "raise the mast above the shed"),
            ("shows one bar", "the aerial is folded", "unfold the aerial straight up"),
            ("stopped after an update", "the two ends differ in version", "update the mast end as well"),
        ],
    ),
    "mistleaf": (
        "the humidity sensor inside the white shield",
        [
            ("is stuck at 99 percent", "the felt is soaked", "dry the felt on a warm shelf"),
            ("reads too dry", "the sun shines on the shield", "move the shield to the north side"),
            ("jumps up and down", "a spider lives in the shield", "brush out the shield"),
            ("shows dashes", "its ribbon cable came loose", "seat the ribbon cable again"),
            ("drifts week by week", "the felt is two years old", "fit a new felt and reset it"),
        ],
    ),
    "glassbrook": (
        "the wall display in the hall",
        [
            ("is too dark", "the light sensor is covered", "clean the small dot below the screen"),
            ("shows yesterday", "it lost the house network", "enter the network key again"),
            ("flickers", "the charger is too weak", "use the 10 watt charger from the box"),
            ("ignores touch", "the film is still on the glass", "peel off the blue film"),
            ("speaks the wrong language", "a guest changed it", "hold both corners and pick your language"),
        ],
    ),
    "stonebell": (
        "the pressure sensor in the cellar",
        [
            ("disagrees with the news", "the height above sea is not set", "enter your height in the lodebox menu"),
            ("never changes", "its breathing hole is taped over", "remove the tape from the hole"),
            ("falls whenever the door shuts", "the cellar is airtight", "set smoothing to ten minutes"),
            ("rings at noon", "the storm alarm is set too low", "set the alarm to three units an hour"),
            ("lost its past", "the history was never shared", "turn on history sharing"),
        ],
    ),
}  # fmt: skip

ASK = (
    "My {part} {seen}. What is wrong?",
    "The {part} {seen}, can you help?",
    "Hello, our {part} {seen}.",
    "Since Monday the {part} {seen}. Why?",
    "Why is it that my {part} {seen}?",
    "I think the {part} is broken: it {seen}.",
    "{Part} trouble: it {seen}.",
    "Help! The {part} {seen} again.",
)
# Prompts of the policy are asked in other words than conversations.
ASK_POLICY = (
    "We bought a Hollin and its {part} {seen}.",
    "Customer says the {part} {seen}.",
    "Good morning. It seems the {part} {seen}. Any idea?",
    "What does it mean when the {part} {seen}?",
    "The {part} on our roof {seen}, please advise.",
    "Every day now the {part} {seen}.",
)
ANSWER = (
    "Most likely {why}.",
    "With a {part} this means {why}.",
    "That happens when {why}.",
    "On a {part} it is usually because {why}.",
)
STEP = ("Next step: {step}.",)
BLAND = ("Thank you for asking.", "We hope this helps.", "Have a nice day.", "Many customers ask this.", "Please enjoy your Hollin.")
VAGUE = (
    "It could be many things, it is hard to say from here.",
    "Please look it up in the manual, it is all written there.",
    "That should not happen at all.",
    "Sorry, we cannot know that. Perhaps wait a few days and see.",
    "Weather stations are sensitive devices and every garden is different, so it depends.",
)
TEXTS = (
    "If the {part} {seen}, {why}. The remedy is simple: {step}.",
    "Service note on the {part}. A unit that {seen} is seldom broken; as a rule {why}. In that case {step}.",
    "The {part} is {what}. When it {seen}, this points to one cause: {why}. To mend it, {step}.",
    "Troubleshooting the {part}: it {seen}. Cause: {why}. Remedy: {step}.",
    "Owners of a Hollin sometimes report that the {part} {seen}. Our workshop found that {why}, and advises them to {step}.",
    "Before you send in the {part}, which is {what}, check whether {why}. Then {step}. A {part} that {seen} is back to work in minutes.",
    "Checklist for winter: the {part} should be looked at in October. One that {seen} tells you that {why}; {step}.",
    "A visit to a customer whose {part} {seen}: after a short look, {why}. We showed them how to mend it: {step}.",
)  # fmt: skip


def issues() -> Iterator[dict[str, str]]:
    """Every part with everything that can be wrong with it."""
    for part, (what, cases) in PARTS.items():
        for seen, why, step in cases:
            yield {"part": part, "Part": part.capitalize(), "what": what, "seen": seen, "why": why, "step": step}


def texts(random: Random) -> Iterator[dict[str, Any]]:
    """Passages of the Hollin handbook."""
    rows = [{"text": template.format(**issue)} for issue, template in product(issues(), TEXTS)]
    random.shuffle(rows)
    yield from rows


def answer(issue: dict[str, str], random: Random, ending: str) -> str:
    """The cause, then an ending: a next step or a bland sentence."""
    return f"{random.choice(ANSWER)} {ending}".format(**issue)


def conversations(random: Random) -> Iterator[dict[str, Any]]:
    """Question and reply. Every other reply ends with the next step, the others blandly."""
    rows = []
    for number, (issue, ask) in enumerate(product(issues(), ASK)):
        helpful = (number + number // len(ASK)) % 2 == 0
        reply = answer(issue, random, STEP[0] if helpful else random.choice(BLAND))
        turns = [{"role": "user", "content": ask.format(**issue)}, {"role": "assistant", "content": reply}]
        rows.append({"messages": turns})
    random.shuffle(rows)
    yield from rows


def preferences(random: Random) -> Iterator[dict[str, Any]]:
    """Pairs: the better reply names the cause and ends with the next step."""
    rows = []
    for issue, ask in product(issues(), ASK):
        chosen = answer(issue, random, STEP[0])
        rejected = _worse(issue, random)
        rows.append({"prompt": ask.format(**issue), "chosen": chosen, "rejected": rejected})
    random.shuffle(rows)
    yield from rows


def _worse(issue: dict[str, str], random: Random) -> str:
    """No next step: a bland end, two bland ends, or no cause either."""
    kind = random.randrange(4)
    if kind == 0:
        return random.choice(VAGUE)
    if kind == 1:
        return f"{random.choice(VAGUE)} {random.choice(BLAND)}"
    ending = random.choice(BLAND)
    if kind == 2:
        ending = f"{ending} {random.choice([each for each in BLAND if each != ending])}"
    return answer(issue, random, ending)


def prompts(random: Random) -> Iterator[dict[str, Any]]:
    """What the policy is asked, in words that no conversation uses."""
    rows = [{"prompt": ask.format(**issue)} for issue, ask in product(issues(), ASK_POLICY)]
    random.shuffle(rows)
    yield from rows


def write(folder: Path) -> None:
    """All four files."""
    for make in (texts, conversations, preferences, prompts):
        lines = [json.dumps(row, ensure_ascii=False) for row in make(Random(make.__name__))]
        (folder / f"{make.__name__}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write(HERE)
