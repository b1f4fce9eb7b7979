"""Which files of this machine a step reads: those that machines elsewhere may not see."""

from __future__ import annotations

from tunelang.plan.ir import DataPart, FilesSource, FolderModel, Step


def reads(step: Step) -> list[str]:
    """The files and folders of this machine that a step reads."""
    parts: list[DataPart] = [*step.data.parts, *step.data.held_out] if step.data else []
    parts += [part for part in (step.general, step.pretraining) if part is not None]
    parts += [gate.measure.data for gate in step.gates if gate.measure.data is not None]
    found = [path for part in parts for path in _paths(part)]
    found += [ref.path for ref in step.inputs.values() if isinstance(ref, FolderModel)]
    source = step.import_from
    if source is not None:
        found += source.tokenizer_text if source.kind == "scratch" else [source.path]
    return sorted(set(found))


def _paths(part: DataPart) -> list[str]:
    return part.source.paths if isinstance(part.source, FilesSource) else []
