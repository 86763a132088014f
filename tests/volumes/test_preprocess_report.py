import numpy as np
import pandas as pd

from hyperct_pipeline.errors import StoreError
from hyperct_pipeline.volumes.preprocess_report import preprocess_all, preprocess_table
from hyperct_pipeline.volumes.preprocessing import PreprocessConfig
from hyperct_pipeline.volumes.volume import Volume

CONFIG = PreprocessConfig(shape_zyx=(4, 5, 6))
QUALITY = pd.DataFrame(
    {
        "study_key": ["a", "b", "c", "d", "e"],
        "verdict": ["accept", "warn", "reject", "accept", "accept"],
        "output_sha256": list("12345"),
    }
)


def volume(hu: int = 40) -> Volume:
    return Volume(np.full((8, 8, 8), hu, dtype=np.int16), np.eye(4))


def broken() -> Volume:
    raise StoreError("damaged")


VOLUMES = {"a": volume, "b": volume, "c": volume, "d": lambda: volume(-1024), "e": broken}


def test_every_study_has_a_row_and_the_good_ones_a_volume() -> None:
    found = list(preprocess_all(QUALITY, VOLUMES, {}, CONFIG))
    assert {row["study_key"] for row, stored in found if stored} == {"a", "b"}
    table = preprocess_table(QUALITY, {row["study_key"]: row for row, _ in found} | {"stale": {}})
    assert table.set_index("study_key")[["status", "reason_codes"]].to_dict("index") == {
        "a": {"status": "stored", "reason_codes": ""},
        "b": {"status": "stored", "reason_codes": ""},
        "c": {"status": "refused", "reason_codes": "QUALITY_REJECT"},
        "d": {"status": "failed", "reason_codes": "EMPTY_VOLUME"},
        "e": {"status": "failed", "reason_codes": "NIFTI_UNREADABLE"},
    }
    assert table.loc[0, ["volume", "shape", "n_slices"]].tolist() == ["a", "4;5;6", 4]
    assert table.loc[2:, ["volume", "shape", "n_slices"]].isna().all(axis=None)
    assert set(table["preprocess_digest"]) == {CONFIG.digest()}


def test_only_what_is_new_or_changed_is_done_again() -> None:
    def again(quality: pd.DataFrame, config: PreprocessConfig) -> set[str]:
        return {row["study_key"] for row, _ in preprocess_all(quality, VOLUMES, done, config)}

    done = {row["study_key"]: row for row, _ in preprocess_all(QUALITY, VOLUMES, {}, CONFIG)}
    failed = {"d", "e"}
    assert again(QUALITY, CONFIG) == failed
    assert again(QUALITY.assign(output_sha256=list("x2345")), CONFIG) == failed | {"a"}
    assert again(QUALITY.assign(verdict="accept"), CONFIG) == failed | {"b", "c"}
    assert again(QUALITY, PreprocessConfig(shape_zyx=(4, 5, 7))) == set("abcde")
