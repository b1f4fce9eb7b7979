"""Sources: where models and data come from, read without torch."""

from tunelang.errors import UserError


class RowError(UserError):
    """Rows that cannot be read: the diagnostic names the file and the line."""
