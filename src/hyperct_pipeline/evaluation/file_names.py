"""Names from a table as names of files that are safe and still tell them apart."""

import re
from collections.abc import Iterable


def file_names(names: Iterable[str]) -> dict[str, str]:
    """Name -> name of its file, without suffix: letters, digits, `_`, `-`; a second one of the same is numbered."""
    files: dict[str, str] = {}
    for name in names:
        safe = re.sub(r"([^\w-]|_)+", "_", name).strip("_")[:80] or "unnamed"
        file, n = safe, 1
        while file in files.values():
            n += 1
            file = f"{safe}_{n}"
        files[name] = file
    return files
