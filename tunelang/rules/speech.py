"""Whose tokenizer and chat template a stage speaks with: what rules on templates start from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tunelang.catalog import tokenizers as catalog
from tunelang.recipe import graph
from tunelang.recipe.model import Choice, Declared, Recipe
from tunelang.recipe.resolve import Resolved
from tunelang.sources import packages, tokenizers
from tunelang.sources.tokenizers import BUILT_IN, ENDS, Tokenizer

# What a model made from scratch reads (`tunelang.train.scratch` trains its tokenizer).
SCRATCH = Tokenizer(
    layout="chatml",
    eos="<|im_end|>",
    tokens=frozenset(("<pad>", "<s>", "</s>", "<|im_start|>", "<|im_end|>")),
)


@dataclass(frozen=True)
class Voice:
    """A stage, the stage before it that chose a template, and the model both go back to."""

    recipe: Recipe
    stage: Declared
    root: Declared
    tokenizer: Tokenizer
    before: Declared | None

    @property
    def written(self) -> str | None:
        """The template that the stage itself names."""
        found = self.stage.get("template")
        return None if found is None else str(found)

    @property
    def text(self) -> str:
        """The template's own text, empty for built-in ones and where it is not here."""
        chooser = self.stage if self.written else self.before
        if chooser is None:
            return self.tokenizer.template
        return template_text(self.recipe, chooser)

    @property
    def layout(self) -> str | None:
        """How this stage writes turns: a well-known layout, None for one of its own."""
        chooser = self.stage if self.written else self.before
        return layout(self.recipe, chooser) if chooser else self.tokenizer.layout

    @property
    def ends(self) -> str | None:
        """The token that ends the model's turns."""
        return ENDS.get(self.layout or "")


def voices(resolved: Resolved) -> Iterator[Voice]:
    """Every stage whose model's tokenizer is known in part."""
    recipe = resolved.recipe
    assert recipe is not None
    for stage in recipe.stages.values():
        root = recipe.declared.get(graph.tongue_of(recipe, stage.name) or "")
        if root is not None:
            yield Voice(recipe, stage, root, tokenizer_of(recipe, root), _before(recipe, stage))


def conversing(resolved: Resolved) -> Iterator[Voice]:
    """Those stages that write rows through a chat template."""
    yield from (
        voice
        for voice in voices(resolved)
        if voice.stage.method and "template" in voice.stage.method.fields
    )


def tokenizer_of(recipe: Recipe, model: Declared) -> Tokenizer:
    """What is known of a model's tokenizer, from its files or the catalogue."""
    place: Choice | None = model.get("from")
    if place is None:
        return Tokenizer()  # that is said already
    if place.name == "scratch":
        return SCRATCH
    if place.name == "hf":
        return catalog.of_hub(place.get("id")) or Tokenizer()
    path = _path(recipe, model, place)
    if path is None:
        return Tokenizer()
    return tokenizers.of_gguf(path) if path.suffix == ".gguf" else tokenizers.of_folder(path)


def _path(recipe: Recipe, model: Declared, place: Choice) -> Path | None:
    """The folder or file of a model on this machine."""
    if place.name == "files":
        return recipe.folder_of(model.span_of("from")) / str(place.get("glob"))
    found = packages.find(place.get("package"), place.get("file"))
    return found if isinstance(found, Path) else None


def template_file(recipe: Recipe, stage: Declared) -> Path | None:
    """The file that a stage's template names, None for a built-in one."""
    wanted = stage.get("template")
    if wanted is None or wanted in BUILT_IN:
        return None
    return recipe.folder_of(stage.span_of("template")) / str(wanted)


def template_text(recipe: Recipe, stage: Declared) -> str:
    """The text of a stage's template file, empty where there is none."""
    path = template_file(recipe, stage)
    try:
        return path.read_text("utf-8") if path else ""
    except (OSError, UnicodeDecodeError):
        return ""


def layout(recipe: Recipe, stage: Declared) -> str | None:
    """The layout that a stage's own template writes."""
    wanted = stage.get("template")
    return wanted if wanted in BUILT_IN else tokenizers.layout_of(template_text(recipe, stage))


def _before(recipe: Recipe, stage: Declared) -> Declared | None:
    """The nearest earlier stage of the same weights that names a template."""
    seen = {stage.name}
    current = recipe.declared.get(graph.start_of(stage) or "")
    while current and current.kind == "stage" and current.name not in seen:
        if current.get("template"):
            return current
        if current.get("tokenizer"):
            return None
        seen.add(current.name)
        current = recipe.declared.get(graph.start_of(current) or "")
    return None
