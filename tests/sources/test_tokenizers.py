"""What a model folder says of its tokenizer, and what the catalogue says of the hub's."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from tunelang.catalog import tokenizers as catalog
from tunelang.sources.tokenizers import BUILT_IN, ENDS, layout_of, of_folder, of_gguf
from tunelang.train import templates


def folder(at: Path, config: dict[str, Any], vocabulary: dict[str, Any] | None = None) -> Path:
    (at / "tokenizer_config.json").write_text(json.dumps(config))
    if vocabulary is not None:
        (at / "tokenizer.json").write_text(json.dumps(vocabulary))
    return at


def test_a_folder_speaks_for_itself(tmp_path: Path) -> None:
    """Template, end mark and special tokens, however each is written."""
    config = {
        "chat_template": "{{ '<|im_start|>' }}",
        "eos_token": {"content": "<|im_end|>", "lstrip": False},
        "added_tokens_decoder": {"7": {"content": "<|tool|>"}},
    }
    found = of_folder(folder(tmp_path, config))
    assert (found.layout, found.eos, found.tuned) == ("chatml", "<|im_end|>", True)
    assert found.has("<|tool|>")
    assert found.has("<|other|>")  # its vocabulary is not here, so nothing can be said


def test_the_whole_vocabulary_tells_what_is_missing(tmp_path: Path) -> None:
    """tokenizer.json knows every token."""
    whole = {"model": {"vocab": {"a": 0}}, "added_tokens": [{"content": "<end>"}]}
    found = of_folder(folder(tmp_path, {"eos_token": "a"}, whole))
    assert found.has("a") and found.has("<end>") and not found.has("b")
    assert found.layout == ""


def test_named_templates_and_files(tmp_path: Path) -> None:
    """Several templates of one model write one layout; a file of its own comes first."""
    several = [{"name": "tools", "template": "x"}, {"name": "default", "template": "[INST]"}]
    assert of_folder(folder(tmp_path, {"chat_template": several})).layout == "mistral"
    (tmp_path / "chat_template.jinja").write_text("<start_of_turn>")
    assert of_folder(tmp_path).layout == "gemma"


@pytest.mark.parametrize("text", ["", "{", "[]"])
def test_damaged_files_say_nothing(tmp_path: Path, text: str) -> None:
    """Unknown is not the same as none."""
    (tmp_path / "tokenizer_config.json").write_text(text)
    assert of_folder(tmp_path).layout is None


def test_the_catalogue() -> None:
    """Base and tuned models of one family differ in what they speak; others are not known."""
    base = catalog.of_hub("meta-llama/Llama-3.1-8B")
    tuned = catalog.of_hub("meta-llama/Llama-3.1-8B-Instruct")
    assert base and tuned and catalog.of_hub("a/b") is None
    assert (base.layout, tuned.layout) == ("", "llama3")
    assert base.has("<|reserved_special_token_7|>") and base.has("word")
    assert not base.has("<|im_end|>")


def test_built_in_templates_are_those_of_the_workers() -> None:
    """Rules and workers mean the same layouts and the same end marks."""
    assert set(BUILT_IN) == set(templates.BUILT_IN)
    for name, (text, end) in templates.BUILT_IN.items():
        assert layout_of(text) == name
        assert ENDS[name] == end


def test_a_gguf_file_brings_its_template(tmp_path: Path) -> None:
    """Only its header is read; what is no GGUF says nothing."""
    path = tmp_path / "model.gguf"
    path.write_bytes(header({"tokenizer.chat_template": "<|start_header_id|>"}))
    assert (of_gguf(path).layout, of_gguf(path).tuned) == ("llama3", True)
    path.write_bytes(header({"general.name": "base model"}))
    assert of_gguf(path).layout == ""
    path.write_bytes(b"PK")
    assert of_gguf(path).layout is None


def header(texts: dict[str, str]) -> bytes:
    """A GGUF file of version 3 that holds no tensors and these texts."""

    def string(text: str) -> bytes:
        return struct.pack("<Q", len(text)) + text.encode()

    pairs = b"".join(string(k) + struct.pack("<I", 8) + string(v) for k, v in texts.items())
    return b"GGUF" + struct.pack("<IQQ", 3, 0, len(texts)) + pairs
