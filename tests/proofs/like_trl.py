"""TRL's settings for what our steps do."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def settings(kind: Any, where: Path, steps: int, **more: Any) -> Any:
    """AdamW, linear to 0, clip at 1, no warmup."""
    return kind(
        output_dir=str(where),
        max_steps=steps,
        learning_rate=1e-3,
        lr_scheduler_type="linear",
        weight_decay=0.0,
        max_grad_norm=1.0,
        bf16=False,
        use_cpu=True,
        report_to=[],
        save_strategy="no",
        logging_steps=1,
        disable_tqdm=True,
        gradient_checkpointing=False,
        **more,
    )
