from pathlib import Path

import numpy as np

from hyperct_pipeline.dicom.crosswalk import crosswalk_table
from hyperct_pipeline.dicom.index import index_series
from hyperct_pipeline.dicom.selection import select_series
from hyperct_pipeline.pseudonyms import DEMO_SECRET, Pseudonyms

HU = np.zeros((5, 4, 6), dtype=np.int16)


def test_every_series_leads_back_to_its_uids_and_folder(write_series, tmp_path: Path, config) -> None:
    pseudonyms = Pseudonyms(DEMO_SECRET)
    write_series(HU, folder="a", tags={"SeriesInstanceUID": "1.2.1"})
    write_series(HU, folder="b", tags={"StudyInstanceUID": "", "SeriesInstanceUID": "1.2.2"})
    groups = index_series(tmp_path / "archive")
    table = crosswalk_table(groups, pseudonyms)
    index, _ = select_series(groups, pseudonyms, config)
    keys = ["study_key", "patient_key", "series_key"]
    assert table[keys].values.tolist() == index[keys].values.tolist()
    by_series = table.set_index("series_instance_uid")
    assert by_series["folder"].to_dict() == {"1.2.1": f"{tmp_path}/archive/a", "1.2.2": f"{tmp_path}/archive/b"}
    assert by_series.loc["1.2.2", "study_instance_uid"] == ""
