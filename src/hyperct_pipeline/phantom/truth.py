"""The truth table: one row per study with everything the archive was made from. For tests and ceilings only."""

from collections.abc import Sequence
from dataclasses import asdict

import pandas as pd

from hyperct_pipeline.phantom.acquisition import Acquired
from hyperct_pipeline.phantom.cohort import BROKEN

GEOMETRY_PREFIX, ECHO_PREFIX, SEVERITY_PREFIX = "heart_", "echo_", "severity_"


def truth_table(acquired: Sequence[Acquired]) -> pd.DataFrame:
    """One row per study, in archive order.

    Columns: raw ids, site, cohort, split, sex, age_years, study_date, scanner, `broken` ("" for an intact study),
    `expected_status` (converted / refused), the 25 task ids (0 / 1), `severity_<finding>` (0, or 0.35 to 1),
    `heart_<size>` (mm, mL or ratio as the name says), `echo_<quantity>`, and `nodules_mm`: "x y z diameter" in DICOM
    patient coordinates, joined by ";". Nothing is missing.
    """
    return pd.DataFrame([_row(one) for one in acquired])


def _row(one: Acquired) -> dict[str, object]:
    study, anatomy = one.study, one.anatomy
    row: dict[str, object] = {
        "patient_id": study.patient_id,
        "accession_number": study.accession_number,
        "study_instance_uid": one.study_instance_uid,
        "site": study.site,
        "cohort": study.cohort,
        "split": study.split,
        "sex": study.sex,
        "age_years": study.age_years,
        "study_date": study.date.isoformat(),
        "manufacturer": one.scanner.manufacturer,
        "model": one.scanner.model,
        "has_thin": int(one.thin),
        "has_lung_kernel": int(one.lung_kernel),
        "n_files": one.n_files,
        "broken": study.broken,
        "expected_status": BROKEN.get(study.broken, "converted"),
        "labelled": int(study.labelled),
    }
    row |= anatomy.labels(study.sex)
    row |= {SEVERITY_PREFIX + name: round(value, 3) for name, value in anatomy.severity.items()}
    row |= {GEOMETRY_PREFIX + name: value for name, value in anatomy.measurements().items()}
    row["body_surface_m2"] = round(anatomy.habitus.bsa_m2, 3)
    row |= {ECHO_PREFIX + name: value for name, value in asdict(anatomy.echo).items()}
    row["nodules_mm"] = ";".join(" ".join(f"{v:.2f}" for v in n) for n in one.nodules_mm)
    return row
