"""What `tunelang probe` measured, kept under the store's home: one file a device."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from tunelang.estimate.calibration import Calibration
from tunelang.run.store import write_atomic

FOLDER = "calibrations"


def known(home: Path) -> Mapping[str, Calibration]:
    """Calibrations by device, in the order of their names; files that hold none are passed over."""
    found = [_read(path) for path in sorted((home / FOLDER).glob("*.json"))]
    return {each.device: each for each in found if each}


def keep(home: Path, calibration: Calibration) -> Path:
    """Write one down, aside and renamed, over an earlier one of the same device."""
    path = _path(home, calibration.device)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, (json.dumps(asdict(calibration), indent=2) + "\n").encode())
    return path


def forget(home: Path, device: str) -> bool:
    """Remove what is known of a device; False where nothing was."""
    path = _path(home, device)
    there = path.is_file()
    path.unlink(missing_ok=True)
    return there


def _path(home: Path, device: str) -> Path:
    return home / FOLDER / f"{device.replace('/', '_')}.json"


def _read(path: Path) -> Calibration | None:
    try:
        found = Calibration(**json.loads(path.read_text("utf-8")))
        factors = (float(found.time), float(found.reserved))
    except (OSError, ValueError, TypeError):
        return None
    return found if all(math.isfinite(each) and each > 0 for each in factors) else None
