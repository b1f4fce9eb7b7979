"""Export: a model as a folder that other tools read.

Safetensors in Hugging Face layout, an adapter in PEFT's, or GGUF for llama.cpp
(https://github.com/ggml-org/ggml/blob/master/docs/gguf.md).
"""

from tunelang.methods.training import running
from tunelang.recipe.schema import Field, Method, Reference, Symbol, Variant

TYPE = Field(
    Symbol(("f16", "bf16", "f32", "q8_0")), "how matrices are held; vectors stay f32", "f16"
)
FORMATS = Variant({"safetensors": {}, "adapter": {}, "gguf": {"type": TYPE}})

METHOD = Method(
    name="export",
    version=1,
    doc="a model as a folder for other tools",
    worker="tunelang.train.export",
    product="export",
    fields={
        "model": Field(Reference(("model", "stage"), ("lm", "prompted")), "what is exported"),
        "format": Field(FORMATS, "what the folder holds", "safetensors"),
        **running(),
    },
    inputs=("model",),
    data_field="",
    formats=(),
    noun="sequences",
    metrics=(),
    trains=False,
)
