"""Rules on tokens (TL405-TL407, TL410, TL417): end and padding marks, and tokens that are added."""

from __future__ import annotations

from collections.abc import Iterator

from tunelang.diagnostic import Diagnostic, Edit, Fix, Label, error, replace, warning
from tunelang.recipe import graph
from tunelang.recipe.model import Choice, Declared, Recipe
from tunelang.recipe.names import did_you_mean, nearest
from tunelang.recipe.resolve import Resolved
from tunelang.rules.edits import dropped
from tunelang.rules.models import kind_of, quantised
from tunelang.rules.speech import Voice, conversing, voices
from tunelang.rules.stages import stages
from tunelang.units import number

EMBEDDING, HEAD = (
    "embed_tokens",
    "lm_head",
)  # as `transformers` names them in Llama, Mistral and Qwen
# The linear layers of a block (`tunelang.estimate.parameters.linears`): what all_linear stands for.
LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def pad_is_eos(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL405: where padding is masked by its token, the end mark is masked with it."""
    for voice in voices(resolved):
        pad, given = voice.stage.get("pad"), voice.stage.values.get("pad")
        ends = {voice.stage.get("eos"), voice.tokenizer.eos, voice.ends}
        if pad is None or pad not in ends or given is None:
            continue
        yield warning(
            "TL405",
            "pad-is-eos",
            f"`{voice.stage.name}` pads with `{pad}`, which also ends what the model says",
            given.span,
            "is the end mark",
            help="what is masked as padding is masked as the end too, and the model never stops: "
            "leave `pad` out, or name a token that means nothing else",
            fix=dropped(resolved, given),
        )


def end_not_trained(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL406: generation would wait for a token that no reply ends with."""
    for voice in conversing(resolved):
        eos, ends = voice.stage.get("eos"), voice.ends
        if eos is None or ends is None or eos == ends or not _known(voice, eos):
            continue
        where = voice.stage.span_of("template") if voice.written else voice.root.span
        yield error(
            "TL406",
            "end-not-trained",
            f"`{voice.stage.name}` ends with `{eos}`, and its {voice.layout} template ends turns "
            f"with `{ends}`",
            voice.stage.span_of("eos"),
            "gets no loss",
            others=(Label(where, f"writes `{ends}`"),),
            help=f'no reply teaches the model to write `{eos}`: write `eos = "{ends}"`',
            fix=replace(voice.stage.span_of("eos"), f'"{ends}"', safe=False),
        )


def token_not_in_vocabulary(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL410: the named end or padding token does not exist."""
    for voice in voices(resolved):
        for path in ("eos", "pad"):
            token = voice.stage.get(path)
            if token is None or _known(voice, token):
                continue
            guess = nearest(token, [*voice.tokenizer.tokens, *_added(voice)])
            span = voice.stage.span_of(path)
            yield error(
                "TL410",
                "token-not-in-vocabulary",
                f"`{voice.root.name}` has no token `{token}`",
                span,
                "not in the vocabulary",
                help=did_you_mean(guess) or f'add it with `new_tokens = ["{token}"]`',
                fix=replace(span, f'"{guess}"', safe=False) if guess else None,
            )


def _known(voice: Voice, token: str) -> bool:
    return token in _added(voice) or voice.tokenizer.has(token)


def _added(voice: Voice) -> list[str]:
    """Tokens that this stage and those before it add."""
    added: list[str] = []
    current: Declared | None = voice.stage
    seen: set[str] = set()
    while current and current.kind == "stage" and current.name not in seen:
        seen.add(current.name)
        added += current.get("new_tokens") or ()
        current = voice.recipe.declared.get(graph.start_of(current) or "")
    return added


def new_tokens_frozen(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL407: rows of the embedding and the head were added, and nothing trains them."""
    for recipe, stage in stages(resolved):
        added, kind = stage.get("new_tokens"), kind_of(stage)
        if not added or kind in (None, "full") or _rests_in_4_bits(recipe, stage):
            continue
        weights: Choice = stage.get("weights")
        targets = weights.get("targets") if kind == "lora" else ()
        trained = LINEAR if isinstance(targets, str) else tuple(targets)
        missing = [name for name in (EMBEDDING, HEAD) if name not in trained]
        if missing:
            lora = kind == "lora"
            yield error(
                "TL407",
                "new-tokens-frozen",
                f"`{stage.name}` adds {_tokens(len(added))}, and "
                f"{'its adapter' if lora else f'`{kind}`'} leaves "
                f"{' and '.join(f'`{name}`' for name in missing)} as they are",
                stage.span_of("weights"),
                "new tokens learn nothing",
                others=(Label(stage.span_of("new_tokens"), "added here"),),
                help="name both among the targets: the rows of the new tokens train, the others "
                "stay; or train every weight with `full`",
                fix=_widened(stage, (*trained, *missing)) if lora else None,
            )


def _tokens(count: int) -> str:
    return f"{number(count)} token{'s' if count > 1 else ''}"


def _widened(stage: Declared, targets: tuple[str, ...]) -> Fix | None:
    """The adapter with these targets, as far as it is written as one."""
    given = stage.values["weights"]
    if given.span is None:
        return None
    listed = "[" + ", ".join(f'"{name}"' for name in targets) + "]"
    inner = given.value.values["targets"].span
    if inner is not None:
        return Fix("train them too", (Edit(inner, listed),), safe=False)
    text = given.span.text
    inside = text[text.index("(") + 1 : -1].strip().rstrip(",") if text.endswith(")") else ""
    fields = f"{inside}, targets = {listed}" if inside else f"targets = {listed}"
    return replace(given.span, f"{given.value.name}({fields})", safe=False)


def resize_quantised(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL417: an embedding that rests in 4 bits cannot grow."""
    for recipe, stage in stages(resolved):
        added = stage.get("new_tokens")
        if added and _rests_in_4_bits(recipe, stage):
            yield error(
                "TL417",
                "resize-quantised",
                f"`{stage.name}` adds {_tokens(len(added))} to a model that is held in 4 bits",
                stage.span_of("new_tokens"),
                "cannot grow",
                others=(Label(stage.span_of("weights"), f"`{kind_of(stage)}` here"),),
                help="add them in an earlier stage with `weights = full`, or use words it knows",
            )


def _rests_in_4_bits(recipe: Recipe, stage: Declared) -> bool:
    start = recipe.declared.get(graph.start_of(stage) or "")
    before = bool(start and start.kind == "stage" and quantised(recipe, start))
    return kind_of(stage) == "qlora" or before


RULES = (
    pad_is_eos,
    end_not_trained,
    token_not_in_vocabulary,
    new_tokens_frozen,
    resize_quantised,
)
