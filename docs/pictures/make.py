"""Pictures for the README: runs the commands it names in a terminal and writes what they print.

    python docs/pictures/make.py

The picture of the run needs recipes/quickstart.tune to have been run before.
"""

from __future__ import annotations

import io
import os
import pty
import re
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
WIDTH = 104
MISTAKE = ("lr = ", "learning_rate = ")


def printed(command: list[str]) -> str:
    """What a command prints on a terminal, colours included."""
    out = io.BytesIO()

    def keep(descriptor: int) -> bytes:
        data = os.read(descriptor, 65536)
        out.write(data)
        return b""

    os.environ |= {"COLUMNS": str(WIDTH), "LINES": "60", "TERM": "xterm-256color"}
    os.chdir(ROOT)
    pty.spawn(command, keep)
    return out.getvalue().decode().replace("\r\n", "\n")


def picture(name: str, shown: str, command: list[str], *, after: str = "") -> None:
    """One SVG: the command as it is typed, and what it prints (from the line with `after` on)."""
    text = printed([sys.executable, "-m", "tunelang", *command])
    text = re.sub(r"\x1b\[[0-9;?]*[A-LN-Za-ln-z]", "", text)
    if after and after in text:
        text = text[text.rindex(after) :]
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(f"$ {shown}\n\n{text.rstrip()}"))
    console.save_svg(str(HERE / f"{name}.svg"), title="tunelang")


def main() -> None:
    """The three pictures."""
    recipe = (ROOT / "recipes" / "quickstart.tune").read_text()
    with tempfile.TemporaryDirectory(dir=ROOT / "recipes") as folder:
        wrong = Path(folder) / "typo.tune"
        broken = recipe.replace(*MISTAKE, 1).replace("reward = judge", "reward = chat")
        wrong.write_text(broken.replace('"data/', '"../data/'))
        name = str(wrong.relative_to(ROOT))
        picture("check", "tunelang check recipes/typo.tune", ["check", name])
        svg = HERE / "check.svg"
        svg.write_text(svg.read_text().replace(name.split("/")[1] + "/", ""))
    llama = "recipes/llama-8b-rlhf.tune"
    picture("plan", f"tunelang plan {llama}", ["plan", llama], after=f"{llama}\n")
    quick = "recipes/quickstart.tune"
    picture("run", f"tunelang run {quick}", ["run", "--plain", quick], after="stage")


if __name__ == "__main__":
    main()
