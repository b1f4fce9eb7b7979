"""Counts of an architecture that are kept: a fit asks for the same ones some thousand times."""

from __future__ import annotations

from functools import lru_cache

from tunelang.estimate import parameters

count = lru_cache(maxsize=512)(parameters.count)
block_count = lru_cache(maxsize=512)(parameters.block_count)
linear_count = lru_cache(maxsize=512)(parameters.linear_count)
routed_count = lru_cache(maxsize=512)(parameters.routed_count)
embedding_count = lru_cache(maxsize=512)(parameters.embedding_count)
