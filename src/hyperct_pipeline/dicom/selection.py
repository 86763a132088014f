"""Which series of a study is the chest CT, and why not the others.

First hard exclusions with a reason code each, then the header gate, then a ranking. What a person decided goes
before the ranking, never before the gate.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Sequence
from itertools import groupby

import pandas as pd

from hyperct_pipeline.dicom.candidate import Candidate, judged
from hyperct_pipeline.dicom.decisions import Decisions
from hyperct_pipeline.dicom.deidentification import patient_key_of
from hyperct_pipeline.dicom.gate import Stack
from hyperct_pipeline.dicom.index import LostFolder
from hyperct_pipeline.dicom.nifti_volume import NiftiSource
from hyperct_pipeline.dicom.selection_config import SelectionConfig
from hyperct_pipeline.dicom.series import SeriesGroup
from hyperct_pipeline.dicom.series_table import lost_row, series_row, series_table
from hyperct_pipeline.dicom.spool import Held, Spool, Spooled
from hyperct_pipeline.pseudonyms import Pseudonyms

__all__ = ["ChosenSeries", "SelectionConfig", "select_series"]


Source = Stack | NiftiSource
Study = tuple[str, list[Candidate]]  # its UID and all that was found of it


@dataclasses.dataclass(frozen=True)
class ChosenSeries:
    """A series to convert. Its stack holds paths and stays outside of memory until it is asked for."""

    key: str  # of the volume: the study's, or study_series for the further ones of `keep: all`
    series_key: str
    input_digest: str  # changes when a file of the series is added, removed or rewritten
    warnings: tuple[str, ...]
    spooled: Spooled[Source] | Held[Source] = dataclasses.field(repr=False)

    @property
    def source(self) -> Source:
        """Its images, sorted, or its NIfTI file."""
        return self.spooled.get()


def select_series(
    groups: Iterable[SeriesGroup],
    pseudonyms: Pseudonyms,
    config: SelectionConfig,
    decisions: Decisions | None = None,
    lost: Sequence[LostFolder] = (),
) -> tuple[pd.DataFrame, list[ChosenSeries]]:
    """Judges every group.

    Args:
        groups: those of one study next to each other.
        pseudonyms: for the keys.
        config: the rules.
        decisions: of a person.
        lost: folders whose images cannot be known; each gets a refused row.

    Returns:
        The series index, one row per group, and the series to convert; both sorted by key.
    """
    decided = decisions or Decisions()
    studies = (
        (study_uid, [judged(group, pseudonyms, decided, config) for group in members])
        for study_uid, members in groupby(groups, key=lambda group: group.study_uid)
    )
    return choose(studies, pseudonyms, config, decided, lost)


def choose(
    studies: Iterable[Study],
    pseudonyms: Pseudonyms,
    config: SelectionConfig,
    decisions: Decisions,
    lost: Sequence[LostFolder] = (),
) -> tuple[pd.DataFrame, list[ChosenSeries]]:
    """The series index and the series to convert of judged candidates; both sorted by key."""
    spool, rows = Spool(), [lost_row(folder, pseudonyms) for folder in lost]
    chosen: list[ChosenSeries] = []
    named: set[str] = set()
    for study_uid, found in studies:
        study_key = pseudonyms.study_key(study_uid)
        candidates = _one_patient(found, pseudonyms)
        best, kept = _choice(candidates, config)
        for candidate in candidates:
            ids = (study_uid, study_key, candidate.group.series_uid, candidate.series_key)
            named |= decisions.named(ids)
            volume = None
            if candidate in kept:
                volume = study_key if candidate is best else f"{study_key}_{candidate.series_key}"
                chosen.append(_chosen(volume, candidate, spool))
            rows.append(series_row(study_key, candidate, best, volume, pseudonyms, config))
    decisions.report_unknown(named)
    return series_table(rows), sorted(chosen, key=lambda series: series.key)


def _one_patient(candidates: list[Candidate], pseudonyms: Pseudonyms) -> list[Candidate]:
    """Refuses all series of a study that bears the ids of two patients: nobody knows whose it is."""
    patients = {patient_key_of(h, pseudonyms) for candidate in candidates for h in candidate.group.headers}
    if len(patients - {None}) < 2:
        return candidates
    return [
        dataclasses.replace(candidate, reasons=tuple(dict.fromkeys(("MIXED_PATIENTS", *candidate.reasons))))
        for candidate in candidates
    ]


def _choice(candidates: list[Candidate], config: SelectionConfig) -> tuple[Candidate | None, list[Candidate]]:
    """The best of a study, and all that are converted."""
    # where a person decided and the gate refuses, no other series takes its place unasked
    taken = [candidate for candidate in candidates if candidate.taken]
    usable = [candidate for candidate in taken or candidates if not candidate.reasons]
    best = min(usable, key=lambda candidate: candidate.rank(config), default=None)
    return best, usable if config.keep == "all" else [best] if best else []


def _chosen(key: str, candidate: Candidate, spool: Spool) -> ChosenSeries:
    text = json.dumps([candidate.series_key, candidate.source.state, candidate.warnings])
    return ChosenSeries(
        key=key,
        series_key=candidate.series_key,
        input_digest=hashlib.sha256(text.encode()).hexdigest()[:16],
        warnings=candidate.warnings,
        spooled=Spooled(spool, spool.put(candidate.source)),
    )
