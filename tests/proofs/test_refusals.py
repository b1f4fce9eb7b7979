"""Mistakes of users are told in their words, and nothing is lost in silence."""

from __future__ import annotations

import json
import resource
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from workshop import TINY, Shop, blank, instructions, part, place, schedule, training

from tunelang.errors import UserError
from tunelang.plan.ir import FolderModel, GgufModel, HubModel, ScratchModel
from tunelang.sources import encoders
from tunelang.train import __main__ as worker
from tunelang.train import loop
from tunelang.train.engines.single import Single


def folder_of(shop: Shop, where: Path) -> Path:
    return Path(shutil.copytree(shop.store.object(TINY) / "model", where))


def refused(shop: Shop, ref: Any) -> Any:
    step = training("sft", "refused", part("instruct", instructions()), inputs={"model": ref})
    with pytest.raises(UserError) as told:
        shop.run(step)
    return told.value.diagnostic


def test_pickled_weights_are_never_opened(shop: Shop, tmp_path: Path) -> None:
    """A folder with a .bin instead of safetensors: TL903, and the pickle's code has not run."""
    path = folder_of(shop, tmp_path / "model")
    (path / "model.safetensors").unlink()
    (path / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch ran'\ntR.")
    found = refused(shop, FolderModel(path=str(path), fingerprint="x"))
    assert found.code == "TL903"
    assert "pytorch_model.bin" in found.message


def test_a_folder_without_weights_is_told(shop: Shop, tmp_path: Path) -> None:
    """No weights, and no model at all: TL730 names the folder."""
    path = folder_of(shop, tmp_path / "model")
    (path / "model.safetensors").unlink()
    assert refused(shop, FolderModel(path=str(path), fingerprint="x")).code == "TL730"
    assert refused(shop, FolderModel(path=str(tmp_path), fingerprint="x")).code == "TL730"


def test_an_encoder_is_no_language_model(shop: Shop, tmp_path: Path) -> None:
    """A BERT with whole weights: TL427 before any are loaded; one trained as a decoder passes.

    Seen to fail without the check: it trained below a random output layer, and said nothing.
    """
    from transformers import AutoConfig, AutoModel

    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    made = AutoConfig.for_model("bert", vocab_size=384, intermediate_size=64, **shape)
    AutoModel.from_config(made).save_pretrained(tmp_path)
    shop.load().tokenizer.save_pretrained(tmp_path)
    found = refused(shop, FolderModel(path=str(tmp_path), fingerprint="x"))
    assert found.code == "TL427"
    assert "`bert`" in found.message
    assert encoders.problem({**made.to_dict(), "is_decoder": True}) == ""


def test_damaged_weights_are_told(shop: Shop, tmp_path: Path) -> None:
    """A truncated safetensors file: TL732."""
    path = folder_of(shop, tmp_path / "model")
    weights = path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert refused(shop, FolderModel(path=str(path), fingerprint="x")).code == "TL732"


def test_a_hub_model_that_is_not_here_is_told(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Offline and not in the cache: TL731 names the model, no traceback of the hub client."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    found = refused(shop, HubModel(id="nobody/nothing", revision="0" * 40))
    assert found.code == "TL731"
    assert "nobody/nothing" in found.message


def test_a_file_that_is_no_gguf_is_told(shop: Shop, tmp_path: Path) -> None:
    """TL732 for a damaged file, TL730 for one that is not there."""
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF" + b"\0" * 64)
    for source, code in ((path, "TL732"), (tmp_path / "none.gguf", "TL730")):
        step = blank(
            "import_model", "gguf", import_from=GgufModel(path=str(source), fingerprint="x")
        )
        with pytest.raises(UserError) as told:
            shop.run(step)
        assert told.value.diagnostic.code == code


def test_prompts_that_fill_the_window_stop_the_step(shop: Shop) -> None:
    """TL310 where no reply is left, with the place of the first row."""
    rows = [{"prompt": f"say {at} " + "cat " * 60, "reply": "cat"} for at in range(20)]
    step = training("sft", "full", part("instruct", rows), length=16)
    with pytest.raises(UserError) as told:
        shop.run(step)
    assert told.value.diagnostic.code == "TL310"
    assert "inline row" in told.value.diagnostic.message


def test_rows_that_lose_their_reply_are_left_out_aloud(shop: Shop) -> None:
    """Some rows lose their reply, some their end: both are counted in notes."""
    rows = instructions(40)
    rows[3] = {"prompt": "say " + "cat " * 200, "reply": "cat"}
    rows[5] = {"prompt": "say", "reply": "cat " * 200}
    shop.run(training("sft", "notes", part("instruct", rows)))
    notes = " ".join(shop.said("notes", "note"))
    assert "1 of 40 rows are left out" in notes
    assert "1 of 40 rows are longer than 96 tokens and are cut" in notes


def test_a_loss_that_is_not_finite_stops_the_step(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TL735 at the update it happens in, instead of hours of nan."""
    monkeypatch.setattr(loop, "backward", lambda *_: float("nan"))
    with pytest.raises(UserError) as told:
        shop.run(training("sft", "nan", part("instruct", instructions())))
    assert told.value.diagnostic.code == "TL735"


@pytest.mark.parametrize("at", [1, 2])
def test_gradients_that_are_not_finite_stop_the_step(
    at: int, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TL735 also where the loss is a number, at the first update and later: DeepSpeed would pass
    such an update over, and one process would keep weights that are none."""
    done, norms = Single.step, [1.0] * (at - 1) + [float("inf")]

    def steps(engine: Single, unit: str, most: float) -> float:
        done(engine, unit, most)
        return norms.pop(0)

    monkeypatch.setattr(Single, "step", steps)
    with pytest.raises(UserError) as told:
        shop.run(training("sft", f"inf-{at}", part("instruct", instructions())))
    assert told.value.diagnostic.code == "TL735"


def test_an_update_that_moves_nothing_is_noticed(shop: Shop) -> None:
    """A learning rate of 0 fails the self-check at the first update."""
    step = training("sft", "still", part("instruct", instructions()), lr=0.0)
    with pytest.raises(UserError) as told:
        shop.run(step)
    assert "trained-weights-move" in told.value.diagnostic.message
    failed = [
        event for event in shop.events("still") if event["event"] == "check" and not event["ok"]
    ]
    assert [event["name"] for event in failed] == ["trained-weights-move"]


def test_a_gpu_that_is_not_there_is_told(shop: Shop) -> None:
    """TL714 before any weight is loaded."""
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    step = training(
        "sft", "gpu", part("instruct", instructions()), place=place(device="cuda", gpus=1)
    )
    with pytest.raises(UserError) as told:
        shop.run(step)
    assert told.value.diagnostic.code == "TL714"


def test_the_same_step_twice_is_the_same_bytes(shop: Shop) -> None:
    """Weights, tokenizer and metrics of two runs are equal, and hold no path of this machine."""
    data = part("instruct", instructions())
    found = []
    for _ in range(2):
        shop.run(training("sft", "again", data, schedule=schedule(3)))
        folder = shop.store.object("again")
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        content = {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
        content.pop("manifest.json")
        found.append(content)
        shop.forget("again")
    assert found[0] == found[1]
    assert not [name for name, text in found[0].items() if str(shop.home).encode() in text]


def test_scratch_models_repeat(shop: Shop) -> None:
    """The same seed and text make the same bytes; another seed makes others."""
    made = json.loads((shop.store.object(TINY) / "step.json").read_text())["import_from"]
    for key, seed in (("twin", made["seed"]), ("other", made["seed"] + 1)):
        wanted = ScratchModel.model_validate({**made, "seed": seed})
        shop.run(blank("import_model", key, import_from=wanted))
    assert shop.weights("twin") == shop.weights(TINY)
    assert shop.weights("other") != shop.weights(TINY)


@pytest.mark.parametrize("method", ["sft", "import_model"])
def test_a_full_disk_is_told_and_leaves_nothing_half_done(shop: Shop, method: str) -> None:
    """A limit on file size stands in for a full disk: TL711, and no product is closed."""
    step = training("sft", "disk", part("instruct", instructions()), weights="full")
    if method == "import_model":
        made = json.loads((shop.store.object(TINY) / "step.json").read_text())
        step = blank(method, "disk", import_from=ScratchModel(**made["import_from"]))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(UserError) as told:
            shop.run(step)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert told.value.diagnostic.code == "TL711"
    assert not (shop.store.work("disk") / "product.done").exists()


def test_missing_libraries_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without torch a worker ends with TL715 and the command that mends it."""

    def absent(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}", name="torch")

    monkeypatch.setattr(worker, "import_module", absent)
    with pytest.raises(UserError) as told:
        worker.load_worker("tunelang.train.sft")
    assert told.value.diagnostic.code == "TL715"
    assert "tunelang[train]" in told.value.diagnostic.help
