"""From pseudonyms back to the archive: the one table that holds both, made only on request."""

from collections.abc import Iterable

import pandas as pd

from hyperct_pipeline.dicom.deidentification import person_of
from hyperct_pipeline.dicom.series import SeriesGroup
from hyperct_pipeline.pseudonyms import Pseudonyms

COLUMNS = (
    "study_key", "patient_key", "series_key", "study_instance_uid", "series_instance_uid", "folder",
)  # fmt: skip


def crosswalk_table(groups: Iterable[SeriesGroup], pseudonyms: Pseudonyms) -> pd.DataFrame:
    """One row per series group, sorted by keys; `folder` is that of its first image, UIDs are blank where missing."""
    rows = [
        (
            pseudonyms.study_key(group.study_uid),
            person_of(group.headers[0], group.study_uid, pseudonyms).patient_key,
            pseudonyms.series_key(group.series_uid, group.number),
            group.headers[0]["StudyInstanceUID"],
            group.headers[0]["SeriesInstanceUID"],
            group.headers[0].folder,
        )
        for group in groups
    ]
    table = pd.DataFrame(rows, columns=list(COLUMNS), dtype=object)
    return table.sort_values(["study_key", "series_key"], ignore_index=True)
