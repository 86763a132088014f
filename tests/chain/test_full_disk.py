"""A disk that takes nothing more ends every stage in a sentence."""

from typing import Any

import pytest

from hyperct_pipeline.pipeline_registry import STAGES

OF_EACH_KIND = ("convert", "harmonize", "fit")  # study processes, tables, a training; the others take minutes together


@pytest.mark.parametrize(
    "stage",
    [
        pytest.param(name, marks=pytest.mark.slow if name in OF_EACH_KIND else pytest.mark.nightly)
        for name in STAGES
        if name not in {"compare", "extend"}
    ],
)
def test_a_stage_that_cannot_write_says_so(chain: Any, stage: str) -> None:
    # no file may grow beyond 1 KB, which the system answers like a full disk
    given = "--params=dicom_root=data/01_raw/phantom/dicom" if stage == "infer" else ""
    printed = chain.run("bash", "-c", f"ulimit -f 1; exec kedro run --pipelines={stage} {given}", expect=1)
    assert "Traceback" not in printed
    (message,) = [line for line in printed.splitlines() if line.startswith("Error: ")]
    assert "data_root" in message and str(chain.folder) not in message
