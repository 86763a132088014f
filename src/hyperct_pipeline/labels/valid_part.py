"""The sound entries of a configuration, so that one with a mistake does not hide the mistakes of the others."""

import copy
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

Loc = tuple[int | str, ...]
T = TypeVar("T")


@dataclass(frozen=True)
class ValidPart(Generic[T]):
    """What could be validated, None where that is nothing; every problem with its key; names of entries left out."""

    config: T | None
    problems: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    def without_echoes(self, problems: Sequence[str]) -> list[str]:
        """The problems that are not only there because an entry was left out."""
        names = [re.escape(name) for name in self.left_out]
        echo = re.compile(
            "|".join(form for name in names for form in (rf"unknown \w+ '{name}'", rf"\.{name}: unknown"))
        )
        return [problem for problem in problems if not names or not echo.search(problem)]


def valid_part(
    config_class: type[T], raw: Mapping[str, Any], entry: Callable[[Loc, Mapping[str, Any]], Loc]
) -> ValidPart[T]:
    """Validate a mapping; where that fails, validate it again without the entries that failed.

    Args:
        config_class: what it should become.
        raw: the mapping, not changed.
        entry: path of an error in the config class, and the mapping -> path in the mapping of the smallest entry that
            can be left out; () where there is none.
    """
    adapter = TypeAdapter(config_class)
    try:
        return ValidPart(adapter.validate_python(dict(raw)))
    except ValidationError as error:
        found = error.errors()
    problems = tuple(
        f"{'.'.join(str(part) for part in e['loc'])}: {e['msg']}"
        + (f" (found {e['input']!r:.80})" if isinstance(e["input"], str | int | float) else "")
        for e in found
    )
    places = {entry(e["loc"], raw) for e in found}
    if () in places:
        return ValidPart(None, problems)
    rest: Any = copy.deepcopy(dict(raw))
    for place in places:
        holder = rest
        for part in place[:-1]:
            holder = holder[part]
        holder.pop(place[-1], None)
    try:
        return ValidPart(adapter.validate_python(rest), problems, tuple(str(place[-1]) for place in places))
    except ValidationError:
        return ValidPart(None, problems)
