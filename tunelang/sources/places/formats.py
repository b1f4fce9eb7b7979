"""What a row of data can be, and which column holds which role."""

from tunelang.recipe.schema import Field, Text


def _column(role: str, default: str | None = None) -> Field:
    text = None if default is None else f'"{default}"'
    return Field(Text(), f"column that holds the {role}", text, optional=default is None)


FORMATS = {
    "text": {"field": _column("text", "text")},
    "instruct": {
        "prompt": _column("prompt", "prompt"),
        "reply": _column("reply", "reply"),
        "system": _column("system message"),
        "input": _column("input that follows the prompt"),
        "weight": _column("number above 0 that the row's loss counts by"),
    },
    "chat": {
        "messages": _column("messages", "messages"),
        "tools": _column("list of tools that the template writes"),
    },
    "preference": {
        "prompt": _column("prompt", "prompt"),
        "chosen": _column("better reply", "chosen"),
        "rejected": _column("worse reply", "rejected"),
        "margin": _column("margin between the two"),
    },
    "ranking": {
        "prompt": _column("prompt", "prompt"),
        "replies": _column("list of replies", "replies"),
        "ranks": _column("list of ranks", "ranks"),
        "scores": _column("list of scores", "scores"),
    },
    "feedback": {
        "prompt": _column("prompt", "prompt"),
        "reply": _column("reply", "reply"),
        "good": _column("judgement", "good"),
    },
    "prompt": {"field": _column("prompt", "prompt")},
    "labelled": {"text": _column("text", "text"), "label": _column("label", "label")},
    "choices": {
        "prompt": _column("prompt", "prompt"),
        "choices": _column("list of answers to choose from", "choices"),
        "answer": _column("right one: its text, or its number from 0", "answer"),
    },
}
