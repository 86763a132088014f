import numpy as np
import pytest
from pydantic import ValidationError

from hyperct_pipeline.volumes import quality
from hyperct_pipeline.volumes.quality import Limits, QualityConfig, judge
from hyperct_pipeline.volumes.volume import Volume

AFFINE = np.diag([0.5, 0.75, 2.0, 1.0])


def volume_of(values: list[int], affine: np.ndarray = AFFINE) -> Volume:
    """10 slices of 10 x 10 voxels, each value in an equal share of every slice."""
    image = np.repeat(values, 100 // len(values)).reshape(10, 10)
    return Volume(np.broadcast_to(image, (10, 10, 10)).astype(np.int16), affine)


def numbers(volume: Volume) -> dict[str, float]:
    return judge(volume, QualityConfig(limits={})).numbers


def test_geometry() -> None:
    found = numbers(volume_of([0]))
    assert found["slice_count"] == 10 and found["slice_spacing_mm"] == 2.0
    assert found["pixel_spacing_mm"] == 0.75 and found["z_extent_mm"] == 20.0
    assert found["field_of_view_mm"] == 5.0 and found["off_ras_axes"] == 0
    assert numbers(volume_of([0], np.diag([-0.5, -0.75, 2.0, 1.0])))["off_ras_axes"] == 2


def test_shares_and_percentiles() -> None:
    found = numbers(volume_of([-1000, -951, -950, -601, -600, -50, 149, 150, 300, 301]))
    assert found["air_share"] == pytest.approx(0.2)
    assert found["lung_share"] == pytest.approx(0.2)
    assert found["soft_tissue_share"] == pytest.approx(0.2)
    assert found["bone_share"] == pytest.approx(0.1)
    assert (found["hu_percentile_1"], found["hu_percentile_99"]) == (-1000, 301)
    assert found["hu_percentile_50"] == pytest.approx(-325)  # between -600 and -50


def test_constant_slices() -> None:
    hu = np.zeros((4, 3, 3), dtype=np.int16)
    hu[1, 0, 0] = 1
    assert numbers(Volume(hu, AFFINE))["constant_slices"] == 3


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.9, ("reject", "LOW")),
        (1, ("warn", "LOW")),
        (2, ("accept", "")),
        (3, ("accept", "")),
        (3.1, ("warn", "HIGH")),
        (4, ("warn", "HIGH")),
        (4.1, ("reject", "HIGH")),
    ],
)
def test_limits(value: float, expected: tuple[str, str]) -> None:
    limits = Limits(reject_below=1, warn_below=2, warn_above=3, reject_above=4)
    assert limits.judge(value) == expected
    assert Limits().judge(value) == ("accept", "")


def test_worst_verdict_counts_and_all_reasons_are_named() -> None:
    config = QualityConfig(
        limits={
            "slice_count": Limits(warn_below=11),
            "lung_share": Limits(reject_below=0.1),
            "bone_share": Limits(reject_above=0.5),
        }
    )
    found = judge(volume_of([0]), config)
    assert (found.verdict, found.reasons) == ("reject", ("LOW_SLICE_COUNT", "LOW_LUNG_SHARE"))
    assert judge(volume_of([-800]), config).verdict == "warn"


def test_large_volumes_are_thinned_without_changing_the_picture(monkeypatch) -> None:
    hu = np.random.default_rng(0).normal(-300, 400, (8, 200, 200)).astype(np.int16)
    whole = numbers(Volume(hu, AFFINE))
    monkeypatch.setattr(quality, "SAMPLE_VOXELS", 40_000)
    thinned = numbers(Volume(hu, AFFINE))
    for name in ("air_share", "lung_share", "soft_tissue_share"):
        assert thinned[name] == pytest.approx(whole[name], abs=0.01)


def test_limit_for_an_unknown_check() -> None:
    with pytest.raises(ValidationError, match=r"no such checks: \['sharpness'\]"):
        QualityConfig(limits={"sharpness": Limits()})
