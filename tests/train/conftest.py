"""These tests need the training libraries."""

import pytest

pytest.importorskip("torch")
