from pathlib import Path

import numpy as np
import pytest

from hyperct_pipeline.dicom.conversion import convert_all
from hyperct_pipeline.dicom.index import index_series
from hyperct_pipeline.dicom.manifest import MANIFEST_TYPES, conversion_manifest, conversion_timings
from hyperct_pipeline.dicom.reasons import REMEDIES, message_of
from hyperct_pipeline.dicom.selection import select_series
from hyperct_pipeline.pseudonyms import DEMO_SECRET, Pseudonyms

HU = np.zeros((5, 4, 6), dtype=np.int16)


def test_every_study_has_one_row(write_series, tmp_path: Path, config) -> None:
    write_series(HU, folder="good", tags={"StudyInstanceUID": "1.1", "PatientSex": "F", "PatientAge": "070Y"})
    write_series(HU, folder="good scout", tags={"StudyInstanceUID": "1.1", "SeriesDescription": "scout"})
    write_series(HU, folder="mr", tags={"StudyInstanceUID": "1.2", "Modality": "MR", "PatientSex": "M"})
    write_series(HU[:2], folder="mr scout", tags={"StudyInstanceUID": "1.2", "SeriesDescription": "scout"})
    pseudonyms = Pseudonyms(DEMO_SECRET)
    index, chosen = select_series(index_series(tmp_path / "archive"), pseudonyms, config)
    rows = dict(convert_all(chosen, tmp_path, tmp_path / "nifti", config))
    manifest = conversion_manifest(index, rows | {"stale": {"study_key": "stale"}}).set_index("study_key")
    assert list(manifest.columns) == list(MANIFEST_TYPES)[1:]
    good, bad = manifest.loc[pseudonyms.study_key("1.1")], manifest.loc[pseudonyms.study_key("1.2")]
    assert len(manifest) == 2
    assert (good["status"], good["sex"], good["age_years"], good["shape"]) == ("converted", "F", 70.0, "5;4;6")
    assert good["nifti"] == f"{pseudonyms.study_key('1.1')}.nii.gz"
    assert (bad["status"], bad["sex"]) == ("refused", "M")
    assert bad["reason_codes"] == "NO_USABLE_SERIES;NOT_CT;LOCALIZER;TOO_FEW_SLICES"
    assert bad["message"] == REMEDIES["NOT_CT"]
    assert bad[["series_key", "nifti", "hu_min", "output_sha256", "output_bytes"]].isna().all()
    assert len(index) == 4
    assert (conversion_timings(rows)["seconds"] >= 0).all()


def test_selected_but_never_converted_is_a_fault(write_series, tmp_path: Path, config) -> None:
    write_series(HU)
    index, _ = select_series(index_series(tmp_path / "archive"), Pseudonyms(DEMO_SECRET), config)
    with pytest.raises(KeyError):
        conversion_manifest(index, {})


def test_message_names_the_cause() -> None:
    assert message_of(["NO_USABLE_SERIES", "CONTRAST"]) == REMEDIES["CONTRAST"]
    assert message_of(["NO_USABLE_SERIES"]) == REMEDIES["NO_USABLE_SERIES"]
    assert message_of([]) == ""
