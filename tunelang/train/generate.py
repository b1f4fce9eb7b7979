"""Text from a model: batched sampling, and the worker behind `tunelang chat` and `generate`.

The worker (`python -m tunelang.train.generate --home HOME --key KEY`) reads one JSON request a
line and answers in JSON lines: {"token": text} as it goes, then {"done": true, "text": text}.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tunelang.plan.ir import StoreModel
from tunelang.train import forward
from tunelang.train.job import Job

if TYPE_CHECKING:
    from tunelang.train.voice import Voice

# The tokens [B] that follow, from logits [B, V] of the so manieth token of every reply.
Pick = Callable[[Tensor, int], Tensor]
UNFINISHED = "\ufffd"  # what a half-written UTF-8 character decodes to


@dataclass(frozen=True)
class Sampling:
    """How replies are drawn; temperature 0 takes the likeliest token."""

    most: int
    stop: frozenset[int]
    temperature: float = 0.0
    seed: int = 0


def replies(
    model: Any, prompts: Sequence[list[int]], pad: int, sampling: Sampling
) -> list[list[int]]:
    """One reply a prompt, without the token that ended it."""
    drawn = [tokens.tolist() for tokens in stream(model, prompts, pad, sampling)]
    return [until_stop([row[at] for row in drawn], sampling.stop) for at in range(len(prompts))]


def until_stop(ids: list[int], stop: frozenset[int]) -> list[int]:
    """The tokens before the first one that ends a reply."""
    ends = [place for place, token in enumerate(ids) if token in stop]
    return ids[: ends[0]] if ends else ids


def stream(
    model: Any,
    prompts: Sequence[list[int]],
    pad: int,
    sampling: Sampling,
    pick: Pick | None = None,
) -> Iterator[Tensor]:
    """The next token of every row [B], until all have ended; ended rows go on with `pad`.

    Prompts are padded on the left, with position ids that count from the first real token. `pick`
    draws in place of the sampling's temperature and seed.
    """
    device = forward.causal(model).get_input_embeddings().weight.device
    ids, mask = left_padded(prompts, pad, device)
    generator = torch.Generator(device).manual_seed(sampling.seed)
    going = torch.ones(len(prompts), dtype=torch.bool, device=device)
    cache = None
    for at in range(sampling.most):
        logits, cache = step(model, ids, mask, cache)
        drawn = pick(logits, at) if pick else draw(logits, sampling.temperature, generator)
        token = torch.where(going, drawn, pad)
        yield token
        ended = [number in sampling.stop for number in token.tolist()]
        going &= ~torch.tensor(ended, device=device)
        if not going.any():
            return
        ids = token[:, None]
        mask = torch.cat([mask, torch.ones_like(ids)], dim=1)


def left_padded(prompts: Sequence[list[int]], pad: int, device: Any) -> tuple[Tensor, Tensor]:
    """Ids [B, T] and attention mask [B, T] of prompts that end together."""
    longest = max(map(len, prompts))
    ids = [[pad] * (longest - len(row)) + row for row in prompts]
    mask = [[0] * (longest - len(row)) + [1] * len(row) for row in prompts]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)


@torch.no_grad()
def step(model: Any, ids: Tensor, mask: Tensor, cache: Any) -> tuple[Tensor, Any]:
    """Logits [B, V] after the new ids [B, T], and the cache that holds them."""
    positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :]
    made = forward.causal(model)(
        input_ids=ids,
        attention_mask=mask,
        position_ids=positions,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    return made.logits[:, -1].float(), made.past_key_values


def draw(logits: Tensor, temperature: float, generator: torch.Generator) -> Tensor:
    """A token for each row [B] from logits [B, V]."""
    if temperature == 0:
        return logits.argmax(-1)
    probabilities = torch.softmax(logits / temperature, dim=-1)
    return torch.multinomial(probabilities, 1, generator=generator)[:, 0]


# --- the worker -----------------------------------------------------------------------------


def main() -> int:
    """Load the product once, then answer requests until the input ends."""
    parser = argparse.ArgumentParser(prog="python -m tunelang.train.generate")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="bf16")
    given = parser.parse_args()
    from tunelang.errors import UserError

    try:
        voice = open_product(given.home.absolute(), given.key, given.precision)
        say({"ready": True, "template": voice.speech.template is not None})
        for line in sys.stdin:
            serve(voice, line)
    except UserError as mistake:
        found = mistake.diagnostic
        say({"failed": found.message, "code": found.code, "help": found.help})
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def serve(voice: Voice, line: str) -> None:
    """Answer one line; one that is no request is told and passed over."""
    try:
        request = json.loads(line)
        if not ("prompt" in request or "messages" in request):
            msg = "a request needs `prompt` or `messages`"
            raise ValueError(msg)
    except (ValueError, TypeError) as wrong:
        say({"failed": f"this line is no request: {wrong}", "code": "TL201", "help": ""})
        return
    answer(voice, request)


def open_product(home: Path, key: str, precision: str) -> Voice:
    """The voice of an object; a reward has none."""
    from tunelang.run.store import Store
    from tunelang.train import voice

    device = "cuda" if torch.cuda.is_available() else "cpu"
    store = Store(home)
    job = Job(home, store.work(key), store, lambda event: None, device)
    return voice.opened(StoreModel(key=key), job, precision)


def answer(voice: Voice, request: dict[str, Any]) -> None:
    """Write the reply to one request, token by token."""
    asked = request.get("messages") or request["prompt"]
    if request.get("raw") and isinstance(asked, str):
        voice = voice.plain()
    sampling = Sampling(
        int(request.get("max_new_tokens", 256)),
        voice.stop,
        float(request.get("temperature", 0.0)),
        int(request.get("seed", 0)),
    )
    ids = voice.ids(asked, "request")
    written: list[int] = []
    said = ""
    with forward.autocast(voice.lens.precision, voice.lens.device):
        for token in stream(voice.model, [ids], voice.lens.pad, sampling):
            if int(token) in sampling.stop:
                break
            written.append(int(token))
            if voice.over(written):
                break
            text = voice.text(written)
            if len(text) > len(said) and not text.endswith(UNFINISHED):
                say({"token": text[len(said) :]})
                said = text
    say({"done": True, "text": voice.text(written)})


def say(message: dict[str, Any]) -> None:
    """One JSON line, at once."""
    sys.stdout.write(json.dumps(message, ensure_ascii=False) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
