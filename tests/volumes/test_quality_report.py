import numpy as np
import pandas as pd
import pytest

from hyperct_pipeline.errors import MissingInputError
from hyperct_pipeline.study_workers import WorkersConfig
from hyperct_pipeline.volumes import quality_report
from hyperct_pipeline.volumes.converted import NiftiFiles
from hyperct_pipeline.volumes.due import Row, Rows
from hyperct_pipeline.volumes.nifti_file import write_nifti
from hyperct_pipeline.volumes.quality import Limits, QualityConfig
from hyperct_pipeline.volumes.quality_checks import CHECKS
from hyperct_pipeline.volumes.quality_report import (
    examine,
    examine_all,
    quality_table,
    studies_due,
    worst_first,
)
from hyperct_pipeline.volumes.volume import Volume

CONFIG = QualityConfig(limits={"lung_share": Limits(warn_below=0.2, reject_below=0.1)})


def volume(lung_share: float) -> Volume:
    hu = np.zeros((6, 10, 10), dtype=np.int16)
    hu.reshape(-1)[: round(lung_share * hu.size)] = -800
    return Volume(hu, np.diag([1.0, 1.0, 2.0, 1.0]))


VOLUMES = {"a": volume(0.5), "b": volume(0.15), "d": volume(0.05)}


def examined(manifest: pd.DataFrame, files: NiftiFiles, done: Rows, pictures: str = "") -> dict[str, Row]:
    """Rows by key of what was due, which is looked at here and not in a process."""
    return {due.key: examine(due)[0] for due in studies_due(manifest, files, done, pictures)}


def test_one_row_per_converted_study(files, manifest_of) -> None:
    manifest, found = manifest_of(**VOLUMES), files(**VOLUMES)
    results = list(examine_all(studies_due(manifest, found, {}, ())))
    assert {row["study_key"] for row, picture in results if picture} == {"a", "b", "d"}
    rows = {row["study_key"]: row for row, _ in results}
    assert rows == examined(manifest, found, {})
    table = quality_table(manifest, rows, CONFIG).set_index("study_key")
    assert table["verdict"].to_dict() == {"a": "accept", "b": "warn", "d": "reject"}
    assert table["reason_codes"].to_dict() == {"a": "", "b": "LOW_LUNG_SHARE", "d": "LOW_LUNG_SHARE"}
    assert table["content_sha256"].to_dict() == {key: volume.digest() for key, volume in VOLUMES.items()}
    assert table.loc["a", "slice_count"] == 6 and table["lung_share"].tolist() == [0.5, 0.15, 0.05]
    assert set(table["scanner"]) == {"ACME CT1"}


def test_what_cannot_be_read_is_a_row_with_a_reason_and_a_remedy(files, manifest_of, caplog) -> None:
    manifest, found = manifest_of(**VOLUMES), files(**VOLUMES)
    write_nifti(volume(0.51), found["a"].path)
    found["b"].path.write_bytes(found["b"].path.read_bytes()[:-9])
    found["d"].path.unlink()
    rows = examined(manifest, found, {})
    with caplog.at_level("WARNING"):
        table = quality_table(manifest, rows, CONFIG).set_index("study_key")
    assert table["reason_codes"].to_dict() == {"a": "NIFTI_CHANGED", "b": "NIFTI_UNREADABLE", "d": "NIFTI_MISSING"}
    assert set(table["verdict"]) == {"reject"} and table[list(CHECKS)].isna().all(axis=None)
    assert table["message"].str.contains("--pipelines=convert").all()
    assert "1 converted volumes are NIFTI_MISSING" in caplog.text
    # a folder that lists no such file is the same
    del found["d"]
    assert examined(manifest, found, {})["d"]["reason"] == "NIFTI_MISSING"


def test_only_what_is_new_or_changed_is_read_again(files, manifest_of, monkeypatch) -> None:
    manifest, found = manifest_of(**VOLUMES), files(**VOLUMES)
    done = examined(manifest, found, {})

    def again(manifest: pd.DataFrame = manifest, pictures: str = "abd") -> set[str]:
        return {due.key for due in studies_due(manifest, found, done, pictures)}

    assert again() == set()
    assert again(pictures="ad") == {"b"}
    assert again(manifest.assign(content_sha256=["x", *manifest["content_sha256"][1:]])) == {"a"}
    assert again(manifest.assign(warnings=["LOSSY", "", "", ""])) == {"a"}
    found["d"].path.unlink()
    assert again() == {"d"}
    done |= examined(manifest, found, done, "abd")
    write_nifti(VOLUMES["d"], found["d"].path)  # it is back
    assert again() == {"d"}
    done |= examined(manifest, found, done, "abd")
    assert again() == set()
    monkeypatch.setattr(quality_report, "CHECKS_VERSION", "next")
    assert again() == set("abd")


def test_other_limits_need_no_reading(files, manifest_of) -> None:
    manifest, found = manifest_of(**VOLUMES), files(**VOLUMES)
    rows = examined(manifest, found, {})
    strict = QualityConfig(limits={"slice_count": Limits(reject_below=7)})
    assert set(quality_table(manifest, rows, strict)["reason_codes"]) == {"LOW_SLICE_COUNT"}


def test_problems_come_first(files, manifest_of) -> None:
    manifest, found = manifest_of(**VOLUMES), files(**VOLUMES)
    table = quality_table(manifest, examined(manifest, found, {}), CONFIG)
    assert worst_first(table)["study_key"].tolist() == ["d", "b", "a"]


@pytest.mark.parametrize("warnings", ["LOSSY", "CONTRAST;LOSSY"])
def test_loss_that_the_conversion_saw_is_judged(files, manifest_of, warnings: str) -> None:
    one = {"a": volume(0.5)}
    manifest = manifest_of(**one).assign(warnings=warnings)
    config = QualityConfig(limits={"lossy": Limits(warn_above=0)})
    rows = examined(manifest, files(**one), {})
    assert quality_table(manifest, rows, config)["reason_codes"].tolist() == ["HIGH_LOSSY"]


def test_an_empty_archive(manifest_of) -> None:
    manifest = manifest_of()
    assert list(examine_all(studies_due(manifest, {}, {}, ()))) == []
    assert quality_table(manifest, {}, CONFIG).empty


def test_a_study_that_takes_too_much_is_a_row_and_is_tried_again(files, manifest_of) -> None:
    one = {"a": volume(0.5)}
    manifest, found = manifest_of(**one), files(**one)
    ((row, picture),) = examine_all(studies_due(manifest, found, {}, ()), WorkersConfig(time_limit_s=1e-6))
    table = quality_table(manifest, {"a": row}, CONFIG)
    assert table.loc[0, ["verdict", "reason_codes"]].tolist() == ["reject", "TIME_LIMIT"] and picture is None
    assert "study_workers.time_limit_s" in table.loc[0, "message"]
    assert len(studies_due(manifest, found, {"a": row}, "a")) == 1


def test_a_manifest_that_is_not_there_or_too_old_is_one_sentence(manifest_of) -> None:
    with pytest.raises(MissingInputError, match="no conversion manifest yet"):
        studies_due(pd.DataFrame(), {}, {}, ())
    with pytest.raises(MissingInputError, match="earlier release"):
        studies_due(manifest_of().drop(columns="content_sha256"), {}, {}, ())
