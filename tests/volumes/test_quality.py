import pytest
from pydantic import ValidationError

from hyperct_pipeline.volumes.quality import Limits, QualityConfig, judge


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
        (None, ("warn", "UNDEFINED")),
    ],
)
def test_limits(value: float | None, expected: tuple[str, str]) -> None:
    limits = Limits(reject_below=1, warn_below=2, warn_above=3, reject_above=4)
    assert limits.judge(value) == expected
    assert Limits().judge(1e9) == ("accept", "")


def test_worst_verdict_counts_and_all_reasons_are_named() -> None:
    limits = {
        "slice_count": Limits(warn_below=11),
        "lung_share": Limits(reject_below=0.1),
        "bone_share": Limits(reject_above=0.5),
    }
    numbers = {"slice_count": 10.0, "lung_share": 0.05, "bone_share": 0.5}
    found = judge(numbers, limits)
    assert (found.verdict, found.reasons) == ("reject", ("LOW_SLICE_COUNT", "LOW_LUNG_SHARE"))
    assert judge(numbers | {"lung_share": 0.1}, limits).verdict == "warn"
    assert judge(numbers | {"lung_share": None}, limits).reasons == ("LOW_SLICE_COUNT", "UNDEFINED_LUNG_SHARE")
    assert judge(numbers, {}).verdict == "accept"


def test_limit_for_an_unknown_check() -> None:
    with pytest.raises(ValidationError, match=r"no such checks: \['sharpness'\]"):
        QualityConfig(limits={"sharpness": Limits()})


@pytest.mark.parametrize("wrong", ["montage_studies", "page_studies"])
def test_empty_pages(wrong: str) -> None:
    with pytest.raises(ValidationError, match="1 or more"):
        QualityConfig(limits={}, **{wrong: 0})
