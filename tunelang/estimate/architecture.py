"""What a decoder-only transformer is made of: the numbers that counts and estimates start from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# How the linear layers of a block are called and fused; each after the family that brought it.
Layout = Literal["llama", "phi", "phi3", "starcoder2", "gpt_neox"]
# rms: weight. gemma: RMS with 1 + weight, in fp32. layer: LayerNorm with weight and bias.
# plain: LayerNorm with neither (OLMo 1).
Norm = Literal["rms", "gemma", "layer", "plain"]


@dataclass(frozen=True)
class Experts:
    """The routed experts of a block: `count` gated feed-forwards of width `ffn`.

    `active` of them see each token. The last `layers` blocks have them, the first ones are dense.
    `shared` is the width of the feed-forward that every token passes; 0: none.
    """

    count: int
    active: int
    ffn: int
    layers: int
    shared: int = 0
    shared_gate: bool = False  # Qwen 2 MoE weighs its shared expert


@dataclass(frozen=True)
class Latent:
    """Multi-head latent attention of DeepSeek V2 and V3 (arXiv 2405.04434, section 2.1).

    Ranks of the compressed queries (None: not compressed) and of keys and values; widths of a
    head without and with rotation, and of its values.
    """

    query_rank: int | None
    kv_rank: int
    plain: int
    rotated: int
    value: int


@dataclass(frozen=True)
class Vision:
    """The tower that sees pictures, which is loaded with the decoder (Gemma 3: SigLIP).

    `ffn` is not gated; pictures of `image` pixels a side are cut into patches of `patch`.
    """

    hidden: int
    layers: int
    ffn: int
    image: int
    patch: int
    channels: int = 3


@dataclass(frozen=True)
class Architecture:
    """A decoder. Widths in elements; `ffn` is the inner width of a feed-forward.

    `biases` are the linear layers of a block that have one, by PEFT name. `windowed` layers see
    the last `window` tokens only (0: every layer sees all). `norms` are those of a block that are
    `hidden` wide. `rotary` is the share of a head that is rotated.
    """

    name: str
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    vocab: int
    positions: int
    tied: bool
    family: str = "llama"  # model_type of config.json
    layout: Layout = "llama"
    biases: tuple[str, ...] = ()
    head_bias: bool = False  # of the output layer, as Phi 1 and 2 have
    norm: Norm = "rms"
    norms: int = 2  # 1 where attention and feed-forward share one, 4 in Gemma 2 and 3
    qk_norm: bool = False  # each head's q and k are normed, as in Qwen 3
    whole_norm: bool = False  # q and k are normed over all heads at once, as OLMo 2 and OLMoE do
    gated: bool = True  # three matrices in a feed-forward; two where not
    activation: str = "silu"
    parallel: bool = False  # attention and feed-forward of a block both read its input
    softcap: bool = False  # logits are capped by a tanh (Gemma 2)
    attention_softcap: bool = False  # and so are the scores of attention
    scaled_logits: bool = False  # logits are divided by a constant (Granite)
    scaled_embedding: bool = False  # embeddings are multiplied by a constant (Gemma, Granite)
    scaled_residual: bool = False  # what a block adds is multiplied by a constant (Granite)
    rotary: float = 1.0
    window: int = 0
    windowed: int = 0
    experts: Experts | None = None
    latent: Latent | None = None
    vision: Vision | None = None

    @property
    def query(self) -> int:
        """Width of all queries."""
        if self.latent:
            return self.heads * (self.latent.plain + self.latent.rotated)
        return self.heads * self.head_dim

    @property
    def kv(self) -> int:
        """Width of all keys; for latent attention the mean of keys and values."""
        if self.latent:
            return (self.query + self.heads * self.latent.value) // 2
        return self.kv_heads * self.head_dim

    @property
    def dense(self) -> int:
        """Blocks without routed experts."""
        return self.layers - (self.experts.layers if self.experts else 0)

    @property
    def inner(self) -> int:
        """Width of the feed-forwards that one token passes in a usual block."""
        if self.experts is None:
            return self.ffn
        return self.experts.shared + self.experts.active * self.experts.ffn
