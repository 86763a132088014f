"""A JSON document that an earlier pipeline may not have written."""

from typing import Any

from hyperct_pipeline.datasets.whole_file import JsonDocument


class OptionalJsonDocument(JsonDocument):
    """A JSON file that need not be there; then None is loaded."""

    is_required = False

    def load(self) -> Any:
        """The document, or None."""
        return super().load() if self._exists() else None
