"""`tunelang estimate`: the figures of a step without a recipe, and every option that is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from tunelang.cli import PLAIN
from tunelang.cli.estimate import estimate
from tunelang.estimate.asked import Asked, figures
from tunelang.plan.findings import of_file

ROOT = Path(__file__).parents[2]
MODEL = "Qwen/Qwen2.5-7B"
H100 = ("--gpu", "H100-80GB")
LLAMA = {
    "model_type": "llama",
    "hidden_size": 512,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "intermediate_size": 1376,
    "vocab_size": 32000,
    "max_position_embeddings": 2048,
}
# By hand: embedding and head 2 x 32000 x 512, four layers of 2 x 512 x 512 + 2 x 512 x 256 in
# attention, 3 x 512 x 1376 in the feed-forward and two norms, and the last norm.
COUNT = 2 * 32000 * 512 + 4 * (2 * 512 * 512 + 2 * 512 * 256 + 3 * 512 * 1376 + 2 * 512) + 512


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store without calibrations, and a hub cache without models."""
    monkeypatch.setenv("TUNELANG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path


def run(*words: str) -> tuple[int, str, str]:
    app = typer.Typer(**PLAIN)
    app.command()(estimate)
    done = CliRunner().invoke(app, list(words))
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout, done.stderr


def told(*words: str) -> dict[str, object]:
    code, out, err = run(*words, "--json")
    assert code == 0, err
    answer: dict[str, object] = json.loads(out)
    return answer


def test_the_figures_are_those_of_a_plan() -> None:
    """The first stage of a recipe, asked for by its plan's layout: the same bytes and seconds."""
    found = of_file(ROOT / "recipes" / "llama-8b-rlhf.tune")
    assert found.plan
    step = next(each for each in found.plan.steps if each.name == "chat")
    work, machine = found.works["chat"]
    place, planned = step.place, step.estimate
    assert planned and step.length
    asked = Asked(
        architecture=work.architecture,
        machine=machine,
        weights="full",
        length=step.length,
        micro=place.micro,
        accumulate=place.accumulate,
        checkpointing=place.checkpointing,
        loss=place.loss,
        sharding=place.sharding,
        masters=True,
    )
    answer = figures(asked)
    assert int(answer.memory.allocated) == planned.allocated
    assert int(answer.band.middle) == planned.peak
    assert answer.trained == planned.trainable


def test_a_config_is_counted_and_named(tmp_path: Path) -> None:
    """A config.json, and the folder it lies in: the same count, and where it comes from."""
    path = tmp_path / "own" / "config.json"
    path.parent.mkdir()
    path.write_text(json.dumps(LLAMA))
    for name in (str(path), str(path.parent)):
        answer = told("--model", name, *H100)
        assert answer["parameters"] == answer["trainable_parameters"] == COUNT
        assert answer["model"] == {"name": "own", "config": path.as_posix()}


def test_json_has_what_it_promises() -> None:
    """Bytes by term add up; the band is in order; the stack and the basis are named."""
    words = ("--weights", "qlora", "--rank", "16", "--length", "4096", "--micro", "4")
    more = ("--checkpointing", "--loss", "fused", "--optimizer", "adamw_8bit")
    answer = told("--model", MODEL, *H100, *words, *more, "--gpus", "1", "--sharding", "none")
    reserved, terms = answer["reserved_bytes"], answer["terms"]
    assert isinstance(reserved, dict) and isinstance(terms, dict)
    allocated = answer["allocated_bytes"]
    assert isinstance(allocated, int)
    assert allocated <= reserved["low"] <= reserved["mid"] <= reserved["high"]
    assert sum(terms.values()) == pytest.approx(allocated, rel=0.01)
    assert answer["phases"][answer["phase"]] == allocated  # type: ignore[index]
    assert answer["fits"] is True and answer["verdict"] == "yes"
    assert answer["seconds_per_step"] > 0  # type: ignore[operator]
    assert answer["stack"] == "tunelang-0.1" and answer["basis"] == "published formulas"
    assert run("--model", MODEL, *H100, "--json") == run("--model", MODEL, *H100, "--json")


def test_the_answer_depends_on_the_stack() -> None:
    """transformers computes all logits, in pure bf16; ours in pieces, over fp32 masters."""
    ours = told("--model", MODEL, "--gpu", "B200", "--micro", "8")
    plain = told("--model", MODEL, "--gpu", "B200", "--micro", "8", "--stack", "transformers-5.23")
    assert (ours["loss"], ours["masters"]) == ("chunked", True)
    assert (plain["loss"], plain["masters"]) == ("plain", False)
    assert plain["terms"]["logits"] > 3 * ours["terms"]["logits"]  # type: ignore[index]
    assert plain["terms"]["optimizer"] < ours["terms"]["optimizer"]  # type: ignore[index]
    same = ("--loss", "plain", "--masters", "none", "--stack")
    every = [told("--model", MODEL, *H100, *same, name) for name in ("fms-4.48", "fms-4.45")]
    first, second = (each["phases"] for each in every)
    assert first != second  # bytes of a logit at the end of forward: 14 and 12


def test_more_devices_need_less_of_each() -> None:
    """Sharded weights: an eighth of the states on each of eight."""
    one = told("--model", MODEL, "--gpu", "B200")
    eight = told("--model", MODEL, "--gpu", "B200", "--gpus", "8", "--sharding", "fsdp2")
    assert eight["devices"] == 8
    share = eight["terms"]["optimizer"] / one["terms"]["optimizer"]  # type: ignore[index]
    assert share == pytest.approx(1 / 8)


def test_people_get_a_table() -> None:
    """The model, the memory with its verdict, the time, and what both rest on."""
    code, out, _ = run("--model", MODEL, *H100, "--weights", "lora", "--micro", "2")
    assert code == 0 and max(map(len, out.splitlines())) <= 80
    assert out.startswith(f"{MODEL}: 7,615,616,512 parameters, 40,370,176 train")
    for word in ("GiB, fits", "an update", "published formulas", "the catalogue"):
        assert word in out


WRONG = {
    "no such model": ("--model Qwen/Qwen2.5-7 --gpu H100-80GB", "TL101", "Qwen/Qwen2.5-7B"),
    "no GGUF file": ("--model there.gguf", "TL322", "there.gguf"),
    "not a config": ("--model {root}/README.md", "TL322", "README.md"),
    "no such GPU": ("--model {qwen} --gpu H200X", "TL713", "H200"),
    "no rank": ("--model {qwen} --weights lora --rank 0", "TL206", "--rank 0"),
    "no such layer": ("--model {qwen} --weights lora --targets q_prj", "TL101", "q_proj"),
    "no such kind": ("--model {qwen} --weights lorra", "TL210", "lorra"),
    "no such optimizer": ("--model {qwen} --optimizer adam", "TL210", "adamw"),
    "no such stack": ("--model {qwen} --stack transformers-5.2", "TL101", "transformers-5.23"),
    "no experts": ("--model {qwen} --weights experts", "TL206", "no experts"),
    "not shared": ("--model {qwen} --gpus 2 --sharding none", "TL206", "--sharding"),
    "nothing to offload": ("--model {qwen} --gpus 2 --offload all", "TL206", "ddp"),
    "no such layers": ("--model {qwen} --weights layers --last 29", "TL206", "28 layers"),
    "no reply": ("--model {qwen} --method grpo --reply 0", "TL206", "is none"),
    "no prompt": ("--model {qwen} --method ppo --length 8 --reply 8", "TL206", "prompt"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_options_are_findings(name: str) -> None:
    """Each is named with its code, nothing is printed on stdout, and nothing is raised."""
    text, code, says = WRONG[name]
    words = text.format(root=ROOT, qwen=MODEL).split()
    status, out, err = run(*words)
    assert status == 1 and out == ""
    assert f"error[{code}]" in err and says in err


def test_no_training_library_is_imported() -> None:
    """In a process of its own that fails where one is."""
    blocked = "import sys; sys.modules.update(dict.fromkeys(('torch', 'transformers', 'numpy')))"
    code = f"{blocked}; from tunelang.cli import main; main()"
    command = [sys.executable, "-c", code, "estimate", "--model", MODEL, *H100, "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and json.loads(done.stdout)["fits"] is False


def test_sharding_over_one_device_is_told() -> None:
    """The answer comes all the same; over two devices, and for none, there is nothing to tell."""
    asked = ("--model", MODEL, *H100, "--sharding")
    code, out, err = run(*asked, "zero3")
    assert code == 0 and out and "shares nothing out" in err
    assert "TL117" not in run(*asked, "zero3", "--gpus", "2")[2] + run(*asked, "none")[2]


def test_an_option_without_effect_is_told() -> None:
    """The rank of no adapter, and experts of none that train: the answer comes all the same."""
    code, out, err = run("--model", MODEL, *H100, "--rank", "8", "--share", "0.5")
    assert code == 0 and out == run("--model", MODEL, *H100)[1]
    assert err.count("TL117") == 2 and "`--rank`" in err and "`--share`" in err


def test_what_waits_beside_the_devices_is_counted() -> None:
    """Offloaded to the host: the states of all devices of a machine, fp32 gradients with them."""
    words = ("--gpus", "8", "--sharding", "zero3", "--offload", "optimizer")
    answer = told("--model", MODEL, *H100, *words)
    parameters = answer["parameters"]
    assert isinstance(parameters, int)
    # fp32 masters, two states, and gradients: 16 bytes a parameter over all eight.
    assert answer["host_bytes"] == pytest.approx(16 * parameters, rel=1e-6)
    assert told("--model", MODEL, *H100)["host_bytes"] == 0


def test_some_layers_train() -> None:
    """Two of Qwen2.5-7B's 28 layers, each of 233,057,792 parameters."""
    answer = told("--model", MODEL, *H100, "--weights", "layers", "--last", "2")
    assert answer["trainable_parameters"] == 2 * 233057792


def test_all_that_is_wrong_is_told_at_once() -> None:
    """Three mistakes, three findings."""
    _, _, err = run("--model", MODEL, "--rank", "0", "--loss", "none", "--gpu", "H1000X")
    assert err.count("error[") == 3
