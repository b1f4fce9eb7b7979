"""Pictures for the README: runs the commands it names in a terminal and writes what they print.

    python docs/pictures/make.py

The picture of the run needs recipes/quickstart.tune to have been run before.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

from tunelang.run.store import default_home

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
WIDTH = 104
HOME = str(default_home())
MISTAKE = ("lr = ", "learning_rate = ")


def printed(command: list[str], *, findings: bool) -> str:
    """What a command prints on a terminal, colours included; its findings only where asked for."""
    ours, theirs = os.openpty()
    settings = {"COLUMNS": str(WIDTH), "LINES": "60", "TERM": "xterm-256color"}
    errors = theirs if findings else subprocess.DEVNULL
    process = subprocess.Popen(
        command, cwd=ROOT, env=os.environ | settings, stdin=theirs, stdout=theirs, stderr=errors
    )
    os.close(theirs)
    out = b""
    with contextlib.suppress(OSError):  # Linux says EIO where the terminal ends
        while data := os.read(ours, 65536):
            out += data
    process.wait()
    return out.decode().replace("\r\n", "\n")


def picture(name: str, shown: str, command: list[str], *, after: str = "", hide: str = "") -> None:
    """One SVG: the command as it is typed, and what it prints (from the line with `after` on)."""
    text = printed([sys.executable, "-m", "tunelang", *command], findings=name != "plan")
    text = text.replace(hide, "").replace(HOME, "~/.local/share/tunelang")
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
        hide = f"{Path(folder).name}/"
        picture("check", "tunelang check recipes/typo.tune", ["check", name], hide=hide)
    llama = "recipes/llama-8b-rlhf.tune"
    picture("plan", f"tunelang plan {llama}", ["plan", llama])
    quick = "recipes/quickstart.tune"
    picture("run", f"tunelang run {quick}", ["run", "--plain", quick], after="stage   before")


if __name__ == "__main__":
    main()
