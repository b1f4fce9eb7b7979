"""Rules on chat templates (TL401-TL403, TL414): who speaks which, and who marks replies."""

from __future__ import annotations

from collections.abc import Iterator

from tunelang.diagnostic import Diagnostic, Fix, Label, error, replace, warning
from tunelang.recipe.names import did_you_mean, nearest
from tunelang.recipe.resolve import Resolved
from tunelang.rules.edits import dropped, setting
from tunelang.rules.speech import Voice, conversing, layout, template_file, template_text
from tunelang.sources.tokenizers import BUILT_IN


def no_chat_template(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL401: conversations, and no template to write them with."""
    for voice in conversing(resolved):
        path = template_file(voice.recipe, voice.stage)
        if path is not None and not template_text(voice.recipe, voice.stage):
            yield _no_such_template(voice)
        elif not voice.written and not voice.before and voice.tokenizer.layout == "":
            yield _no_template(voice)


def _no_such_template(voice: Voice) -> Diagnostic:
    span = voice.stage.span_of("template")
    guess = nearest(voice.written or "", BUILT_IN)
    return error(
        "TL401",
        "no-chat-template",
        f"`{voice.stage.name}` names the template `{voice.written}`, and none can be read there",
        span,
        "no such template or file",
        help=did_you_mean(guess) or f"built in are {', '.join(BUILT_IN)}; others are .jinja files",
        fix=replace(span, f'"{guess}"', safe=False) if guess else None,
    )


def _no_template(voice: Voice) -> Diagnostic:
    stage, root = voice.stage, voice.root
    fits = "llama3" if "<|eot_id|>" in voice.tokenizer.tokens else "chatml"
    assert stage.method is not None
    return error(
        "TL401",
        "no-chat-template",
        f"`{stage.name}` trains conversations, and neither it nor `{root.name}` has a template",
        stage.span_of(stage.method.data_field),
        "who says what is not marked",
        others=(Label(root.span, "has no chat template"),),
        help=f'write `template = "{fits}"`',
        fix=setting(stage, "template", f'"{fits}"'),
    )


def other_template(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL402: a tuned model is made to speak in another layout."""
    for voice in conversing(resolved):
        own = voice.tokenizer.layout
        if not voice.written or voice.before or not (voice.tokenizer.tuned and own):
            continue
        if voice.layout != own:
            yield warning(
                "TL402",
                "other-template",
                f"`{voice.root.name}` was tuned with {own} turns, "
                f"`{voice.stage.name}` writes `{voice.written}`",
                voice.stage.span_of("template"),
                f"it knows {own}",
                others=(Label(voice.root.span, f"speaks {own}"),),
                help="leave `template` out: the model brings its own",
                fix=_without_template(voice, resolved),
            )


def _without_template(voice: Voice, resolved: Resolved) -> Fix | None:
    own = voice.tokenizer.layout
    if own in BUILT_IN:
        return setting(voice.stage, "template", f'"{own}"')
    return dropped(resolved, voice.stage.values["template"])


def template_changes(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL403: a later stage speaks otherwise than the stage it starts from was taught."""
    for voice in conversing(resolved):
        before = voice.before
        if before is None or not voice.written or before.get("template") == voice.written:
            continue
        taught = layout(voice.recipe, before)
        if taught is not None and taught == voice.layout:
            continue
        was = before.get("template")
        yield error(
            "TL403",
            "template-changes",
            f"`{voice.stage.name}` writes `{voice.written}`, `{before.name}` was taught `{was}`",
            voice.stage.span_of("template"),
            "another template",
            others=(Label(before.span_of("template"), "taught here"),),
            help="a model keeps the template it was taught: leave it out here, or name the same",
            fix=setting(voice.stage, "template", f'"{was}"'),
        )


def no_reply_marks(resolved: Resolved) -> Iterator[Diagnostic]:
    """TL414: nothing in the template tells where a reply begins."""
    for voice in conversing(resolved):
        # Both `{% generation %}` and `add_generation_prompt` tell where the assistant speaks.
        if voice.stage.get("loss_on") == "all" or not voice.text or "generation" in voice.text:
            continue
        whose = f"`{voice.written}`" if voice.written else f"the template of `{voice.root.name}`"
        path = "template" if voice.written else "loss_on"
        yield error(
            "TL414",
            "no-reply-marks",
            f"`{voice.stage.name}` trains replies only, and {whose} does not mark them",
            voice.stage.span_of(path),
            "where does a reply begin?",
            help="it has neither `add_generation_prompt` nor `{% generation %}`; "
            f'add one, or write `template = "{_nearest_built_in(voice)}"`',
            fix=setting(voice.stage, "template", f'"{_nearest_built_in(voice)}"'),
        )


def _nearest_built_in(voice: Voice) -> str:
    """The built-in template of the same layout, else ChatML."""
    return voice.layout if voice.layout in BUILT_IN and voice.layout else "chatml"


RULES = (
    no_chat_template,
    other_template,
    template_changes,
    no_reply_marks,
)
