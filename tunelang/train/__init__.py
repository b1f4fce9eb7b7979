"""The training floor: runs in worker processes, the only place that imports torch and friends."""
