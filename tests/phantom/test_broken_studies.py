"""What the ingest makes of each kind of broken study: it must be refused for its own fault, not for another."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import yaml
from pydantic import TypeAdapter

from hyperct_pipeline.dicom.conversion import ConvertConfig, convert_series
from hyperct_pipeline.dicom.index import index_series
from hyperct_pipeline.dicom.manifest import conversion_manifest
from hyperct_pipeline.dicom.selection import select_series
from hyperct_pipeline.phantom.acquisition import write_study
from hyperct_pipeline.phantom.cohort import BROKEN, PhantomConfig, Study
from hyperct_pipeline.pseudonyms import DEMO_SECRET, Pseudonyms

PARAMETERS = Path(__file__).parents[2] / "conf" / "base" / "parameters_convert.yml"
REASON = {
    "missing_slice": "MISSING_SLICE",
    "localizer_only": "LOCALIZER",
    "contrast_only": "CONTRAST",
    "truncated_file": "TRUNCATED_FILE",
    "matrix_varies": "MATRIX_VARIES",
    "no_rescale": "NO_RESCALE",
    "mr_modality": "NOT_CT",
}
HARMLESS = ("junk_files", "empty_file")


@pytest.fixture(scope="module")
def config() -> ConvertConfig:
    """The shipped settings."""
    parameters = yaml.safe_load(PARAMETERS.read_text(encoding="utf-8"))["convert"]
    return TypeAdapter(ConvertConfig).validate_python(parameters)


def both_sites(plan: list[Study], kind: str) -> list[Study]:
    """The planned study of this kind and one of each site that is broken in the same way."""
    return [next(s for s in plan if s.broken == kind), *(replace(plan[row], broken=kind) for row in (6, 300))]


def ingest(study: Study, archive: Path, config: ConvertConfig) -> tuple[pd.DataFrame, "pd.Series[str]"]:
    """Series index and manifest row of a study written to `archive`."""
    write_study(study, PhantomConfig(matrix=64), archive)
    index, chosen = select_series(index_series(archive), Pseudonyms(DEMO_SECRET), config)
    rows = {series.key: convert_series(series, archive.with_name("nifti"), config) for series in chosen}
    (row,) = conversion_manifest(index, rows).to_dict("records")
    return index, pd.Series(row)


def test_every_kind_is_expected_to_end_somehow() -> None:
    assert {kind for kind, status in BROKEN.items() if status == "refused"} == set(REASON)
    assert {kind for kind, status in BROKEN.items() if status == "converted"} == set(HARMLESS)


@pytest.mark.parametrize("kind", REASON)
def test_a_broken_study_is_refused_for_its_own_fault(
    plan: list[Study], tmp_path: Path, config: ConvertConfig, kind: str
) -> None:
    for number, study in enumerate(both_sites(plan, kind)):
        index, row = ingest(study, tmp_path / str(number), config)
        assert row["status"] == "refused"
        assert row["reason_codes"].split(";")[:2] == ["NO_USABLE_SERIES", REASON[kind]]
        longest = index.loc[index["n_instances"].idxmax()]
        assert longest["reason_codes"].split(";")[0] == REASON[kind]
        if kind != "localizer_only":
            assert longest["reason_codes"] == REASON[kind]  # nothing else is wrong with it


@pytest.mark.parametrize("kind", HARMLESS)
def test_foreign_files_beside_a_study_do_not_stop_it(
    plan: list[Study], tmp_path: Path, config: ConvertConfig, kind: str
) -> None:
    for number, study in enumerate(both_sites(plan, kind)):
        _, row = ingest(study, tmp_path / str(number), config)
        assert (row["status"], row["reason_codes"]) == ("converted", "")
        assert row["warnings"] == "NOT_DICOM_FILES"
