"""A folder of NIfTI volumes with a table, as public cohorts are handed out (CT-RATE style).

The table names the volumes and what is known of them; the rules of selection are those of DICOM series. The study of
a volume is its name without the suffix of the reconstruction.
"""

import logging
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import field
from pathlib import Path

import pandas as pd
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from hyperct_pipeline.dicom.archive import relative_folder, walk
from hyperct_pipeline.dicom.header import Header
from hyperct_pipeline.dicom.index import LostFolder
from hyperct_pipeline.dicom.series import SeriesGroup
from hyperct_pipeline.dicom.vocabulary import refuse_bad_patterns
from hyperct_pipeline.errors import ConfigError

logger = logging.getLogger(__name__)

NIFTI_SUFFIXES = (".nii.gz", ".nii")


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class NiftiCohortConfig:
    """How the table names volumes and what it says of them.

    Raises:
        ValueError: the pattern is no regular expression or lacks a group.
    """

    name_column: str = "VolumeName"
    # groups `study` and `patient`; a name that does not match is a study and a patient of its own
    name_pattern: str = r"(?P<study>(?P<patient>(?:train|valid)_\d+)_[a-z]+)_\d+"
    # DICOM keyword -> column of the table; one that is absent is unknown
    columns: dict[str, str] = field(
        default_factory=lambda: {
            keyword: keyword
            for keyword in ("PatientSex", "PatientAge", "Manufacturer", "ConvolutionKernel", "SeriesDescription", "KVP")
        }
    )

    def __post_init__(self) -> None:
        refuse_bad_patterns("name_pattern", (self.name_pattern,))
        if not {"study", "patient"} <= set(re.compile(self.name_pattern).groupindex):
            raise ValueError("name_pattern must have the groups 'study' and 'patient'")


class NiftiCohort:
    """Volumes of a table, sorted by study and name, with the file of each; they hold names of files."""

    def __init__(self, archive: Path, table: pd.DataFrame, config: NiftiCohortConfig) -> None:
        if config.name_column not in table.columns:
            raise ConfigError(
                f"The table 'nifti_table' has no column '{config.name_column}' (convert.nifti.name_column)."
            )
        self._config = config
        self._files: dict[str, list[str]] = defaultdict(list)
        closed: list[str] = []
        for path in walk(archive, closed):
            if path.endswith(NIFTI_SUFFIXES):
                self._files[stem_of(Path(path).name)].append(path)
        self.lost = [LostFolder(relative_folder(folder, archive), "UNREADABLE_FOLDER") for folder in closed]
        rows = {stem_of(str(row[config.name_column])): row for row in table.to_dict("records")}
        self._rows = dict(sorted((name, row) for name, row in rows.items() if name))
        unnamed = len(set(self._files) - set(self._rows))
        logger.info("%d volumes in the table, %d files besides, which are passed over", len(self._rows), unnamed)

    def __iter__(self) -> Iterator[SeriesGroup]:
        """One group per volume of the table; its header says what the table says, its path is that of the file."""
        groups = [self._group(name) for name in self._rows]
        yield from sorted(groups, key=lambda group: (group.study_uid, group.series_uid))

    def files_of(self, group: SeriesGroup) -> list[str]:
        """Files of the name of a volume; there should be one."""
        return self._files.get(group.series_uid, [])

    def _group(self, name: str) -> SeriesGroup:
        match = re.fullmatch(self._config.name_pattern, name)
        row = self._rows[name]
        text = {key: str(row.get(column, "")).strip() for key, column in self._config.columns.items()}
        text["PatientAge"] = _dicom_age(text.get("PatientAge", ""))
        text["PatientSex"] = text.get("PatientSex", "")[:1]
        text |= {
            "StudyInstanceUID": match["study"] if match else name,
            "SeriesInstanceUID": name,
            "PatientID": match["patient"] if match else name,
            "Modality": "CT",
        }
        numbers = {"KVP": _number(text.pop("KVP", ""))}
        path = next(iter(self._files.get(name, [])), "")
        filled = {key: value for key, value in text.items() if value}
        header = Header(path, 0, 0, 0, None, "", filled, {key: values for key, values in numbers.items() if values})
        return SeriesGroup(header["StudyInstanceUID"], name, 0, (header,))


def stem_of(name: str) -> str:
    """A file name without its NIfTI suffix."""
    for suffix in NIFTI_SUFFIXES:
        name = name.strip().removesuffix(suffix)
    return name


def _dicom_age(text: str) -> str:
    """Years in the form DICOM has, so that one rule reads both."""
    years = _number(text.upper().removesuffix("Y"))
    return f"{int(years[0]):03d}Y" if years and 0 < years[0] < 200 else ""


def _number(text: str) -> tuple[float, ...]:
    try:
        return (float(text),)
    except ValueError:  # blank, or not a number
        return ()
