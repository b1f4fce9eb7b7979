"""`tunelang gpus` and `tunelang models`: tables, entries in full, JSON, and names that are not."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from typing import Any

import pytest
from typer.testing import CliRunner

from tunelang.catalog import gpus, models
from tunelang.cli import app

runner = CliRunner()


def said(*words: str) -> str:
    done = runner.invoke(app, words)
    assert done.exit_code == 0, done.output
    return done.stdout


def told(*words: str) -> Any:
    return json.loads(said(*words, "--json"))


def test_every_card_is_in_the_table() -> None:
    """One line a card below the headings, all as wide as a terminal of 120 columns at most."""
    lines = said("gpus").splitlines()
    assert lines[0].startswith("GPU") and "usable" in lines[0]
    assert len(lines) == 2 + len(gpus.every())
    assert max(map(len, lines)) <= 120
    (card,) = [line for line in lines if line.startswith("RTX 4090 ")]
    assert card.split()[2:7] == ["24", "23.5", "165", "165", "330"]


def test_cards_without_bf16_say_so() -> None:
    """Their 16-bit operations are under fp16 alone."""
    (card,) = [line for line in said("gpus").splitlines() if line.startswith("T4 ")]
    assert card.split()[3:6] == ["-", "65", "-"]
    assert "has no       bf16, fp8, flash attention 2" in said("gpus", "T4")


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["hopper", "PCIe"], {"H100-PCIe", "H100-NVL", "H200-NVL"}),
        (["amd"], {"MI250X", "MI210", "MI300X", "MI325X", "MI350X", "MI355X"}),
        (["consumer", "blackwell"], {"RTX 5090", "RTX 5080", "RTX 5070 Ti", "RTX 5070"}),
    ],
)
def test_words_choose_cards(words: list[str], names: set[str]) -> None:
    """Each word must be in the name, the generation, the vendor, the link or the market."""
    assert {entry["name"] for entry in told("gpus", *words)} == names


def test_a_card_is_told_in_full() -> None:
    """By name, by alias or as a driver prints it, with its source and how a recipe names it."""
    whole = said("gpus", "H100-80GB")
    assert whole == said("gpus", "h100") == said("gpus", "NVIDIA", "H100", "80GB", "HBM3")
    assert "989 TFLOP/s in bf16 and fp16, 1979 in fp8" in whole
    assert "compute capability 9.0" in whole and "data sheets" in whole
    assert 'gpu = "H100-80GB"' in whole


def test_a_card_in_json_has_base_units() -> None:
    """Bytes and operations a second; what a card lacks is null."""
    facts = told("gpus", "A100-80GB")
    assert (facts["usable_bytes"], facts["bf16_flops"]) == (84_990_000_000, 312e12)
    assert facts["fp8_flops"] is None and told("gpus", "T4")["bf16_flops"] is None
    assert len(told("gpus")) == len(gpus.every())


@pytest.mark.parametrize(
    ("command", "name", "code", "guess"),
    [
        ("gpus", "H10-80GB", "TL713", "did you mean `H100-80GB`?"),
        ("gpus", "abacus", "TL713", "`tunelang gpus` lists all of them"),
        ("models", "Qwen/Qwen3-88B", "TL101", "did you mean `Qwen/Qwen3-8B`?"),
        ("models", "Llama-3.1-88B", "TL101", "did you mean `meta-llama/Llama-3.1-8B`?"),
        ("models", "abacus", "TL101", "`tunelang models` lists all of them"),
    ],
)
def test_what_is_not_there_is_said(command: str, name: str, code: str, guess: str) -> None:
    """As a finding with the nearest name, and exit code 1."""
    done = runner.invoke(app, [command, name])
    assert done.exit_code == 1 and not done.stdout
    assert code in done.stderr and guess in done.stderr


def test_every_model_is_in_the_table() -> None:
    """One line a repository, with what it is in parameters and tokens."""
    lines = said("models").splitlines()
    assert len(lines) == 1 + len(models.every())
    (line,) = [each for each in lines if each.startswith("mistralai/Mixtral-8x7B-v0.1 ")]
    assert line.split()[1:] == ["46.7B", "12.9B", "32k", "apache-2.0", "mixtral"]


def test_words_choose_models() -> None:
    """Each word must be in the id, the family, the licence or the template."""
    found = told("models", "gemma3", "it")
    assert {entry["id"] for entry in found} == {
        "google/gemma-3-270m-it",
        "google/gemma-3-1b-it",
        "google/gemma-3-4b-it",
        "google/gemma-3-12b-it",
        "google/gemma-3-27b-it",
    }
    assert "Qwen/Qwen3-32B" in said("models", "qwen3-32b").splitlines()[0], "one is told in full"


def test_a_model_is_told_in_full() -> None:
    """Its exact count, shape, targets, licence and what it asks, the hub's gate, its source."""
    whole = said("models", "meta-llama/Llama-3.2-1B-Instruct")
    assert "1,235,814,400, 2.3 GiB in bf16" in whole
    assert "16 layers 2048 wide, 32 heads and 8 for keys" in whole and "tied" in whole
    assert "llama3.2 (agreed to on the hub before it can be downloaded)" in whole
    assert "the same     meta-llama/Llama-3.2-1B" in whole and "config.json" in whole
    assert "qkv_proj, o_proj, gate_up_proj, down_proj" in said("models", "microsoft/phi-4")
    assert "not judged" in said("models", "deepseek-ai/DeepSeek-V2-Lite")
    assert "no commercial use" in said("models", "Qwen/Qwen2.5-3B")
    assert "to see pictures" in said("models", "google/gemma-3-4b-it")
    assert "states 70,426,624" in said("models", "EleutherAI/pythia-70m")


def test_a_model_in_json_has_its_config() -> None:
    """The numbers of its config.json, the exact count, and the layers that adapters can sit on."""
    facts = told("models", "Qwen/Qwen3-30B-A3B")
    assert facts["parameters"] == 30_532_122_624 and facts["config"]["num_experts"] == 128
    assert facts["targets"] == ["q_proj", "k_proj", "v_proj", "o_proj"]
    assert told("models", "microsoft/phi-2")["template"] is None


@pytest.mark.parametrize("command", ["gpus", "models"])
def test_they_need_no_torch_and_little_time(command: str) -> None:
    """With torch and its friends blocked, in a fresh process: 0.1 s of a processor that is free,
    and no more than 0.5 s of one that is not."""
    blocked = ["torch", "transformers", "peft", "trl", "numpy", "pydantic", "huggingface_hub"]
    program = (
        "import sys\n"
        f"for name in {blocked!r}: sys.modules[name] = None\n"
        "from tunelang.cli import main\n"
        f"sys.argv = ['tunelang', {command!r}]\n"
        "main()\n"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 0.5
