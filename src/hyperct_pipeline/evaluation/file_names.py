"""Names from a table as names of files that are safe and still tell them apart."""

import re
from collections.abc import Iterable


def file_names(names: Iterable[str]) -> dict[str, str]:
    """Name -> name of its file, without suffix: letters, digits, `_`, `-`; a second one of the same is numbered."""
    files: dict[str, str] = {}
    for name in names:
        safe = re.sub(r"([^\w-]|_)+", "_", name).strip("_")[:80] or "unnamed"
        same = re.compile(rf"{re.escape(safe)}(_\d+)?")
        taken = sum(same.fullmatch(other) is not None for other in files.values())
        files[name] = f"{safe}_{taken + 1}" if taken else safe
    return files
