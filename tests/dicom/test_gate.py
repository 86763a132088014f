from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from hyperct_pipeline.dicom.gate import GateConfig, Stack, check_stack, stack_affine
from hyperct_pipeline.dicom.index import index_series

HU = np.zeros((6, 4, 6), dtype=np.int16)


def places(*z: float) -> list[tuple[float, float, float]]:
    return [(-20.0, -30.0, value) for value in z]


def check(archive: Path) -> Stack:
    (group,) = index_series(archive)
    return check_stack(group, GateConfig())


def test_stack_is_sorted_by_position_and_affine_follows_the_standard(write_series, tmp_path: Path) -> None:
    write_series(HU, positions=places(5, 0, 2.5, 12.5, 7.5, 10))
    stack = check(tmp_path / "archive")
    assert stack.reasons == () and stack.warnings == ()
    assert [header.numbers["ImagePositionPatient"][2] for header in stack.headers] == [0, 2.5, 5, 7.5, 10, 12.5]
    # index (x, y, z): columns are 0.75 mm apart, rows 1.5 mm; LPS -> RAS turns x and y
    expected = [[-0.75, 0, 0, 20], [0, -1.5, 0, 30], [0, 0, 2.5, 0], [0, 0, 0, 1]]
    np.testing.assert_allclose(stack_affine(stack.headers, stack.n_slices), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("z", "reasons"),
    [
        ((0, 5, 10, 15, 20, 25), ()),
        ((0, 5.049, 10, 15, 20, 25), ()),  # 1 % of 5 mm
        ((0, 5.06, 10, 15, 20, 25), ("VARIABLE_SPACING",)),
        ((0, 1, 2.019, 3, 4, 5), ()),  # 0.02 mm, which is more than 1 %
        ((0, 1, 2.021, 3, 4, 5), ("VARIABLE_SPACING",)),
        ((0, 5, 15, 20, 25, 30), ("MISSING_SLICE",)),
        ((0, 5, 25, 30, 35, 40), ("MISSING_SLICE",)),
        ((0, 5, 10, 15, 22.5, 30), ("VARIABLE_SPACING",)),
        ((0, 5, 10, 10, 15, 20), ("DUPLICATE_POSITION",)),
    ],
)
def test_spacing(write_series, tmp_path: Path, z: tuple[float, ...], reasons: tuple[str, ...]) -> None:
    write_series(HU, positions=places(*z))
    assert check(tmp_path / "archive").reasons == reasons


@pytest.mark.parametrize(("tilt_deg", "reasons"), [(0.45, ()), (0.55, ("GANTRY_TILT",)), (15.0, ("GANTRY_TILT",))])
def test_tilt(write_series, tmp_path: Path, tilt_deg: float, reasons: tuple[str, ...]) -> None:
    shift = np.tan(np.radians(tilt_deg))
    write_series(HU, positions=[(-20.0, -30.0 + shift * 5 * z, 5.0 * z) for z in range(6)])
    assert check(tmp_path / "archive").reasons == reasons


def test_oblique_stack_without_tilt_passes(write_series, tmp_path: Path) -> None:
    angle = np.radians(10)
    c, s = np.cos(angle), np.sin(angle)
    write_series(
        HU,
        orientation=(1, 0, 0, 0, c, s),
        positions=[(0, -s * 2.5 * z, c * 2.5 * z) for z in range(6)],
    )
    stack = check(tmp_path / "archive")
    assert stack.reasons == ()
    np.testing.assert_allclose(stack_affine(stack.headers, stack.n_slices)[:3, 2], [0, s * 2.5, c * 2.5], atol=1e-9)


def test_one_slice_out_of_line(write_series, tmp_path: Path) -> None:
    positions = places(0, 5, 10, 15, 20, 25)
    positions[3] = (-19.4, -30.0, 15)
    write_series(HU, positions=positions)
    assert check(tmp_path / "archive").reasons == ("POSITION_WANDERS",)


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"RescaleSlope": None}, "NO_RESCALE"),
        ({"RescaleSlope": 0}, "BAD_RESCALE"),
        ({"RescaleIntercept": 100000}, "BAD_RESCALE"),
        ({"RescaleType": "HOUNSFIELD?"}, "RESCALE_NOT_HU"),
        ({"ConvolutionKernel": "LUNG"}, "MIXED_RECONSTRUCTIONS"),
        ({"PatientID": "p2"}, "MIXED_PATIENTS"),
        ({"PixelSpacing": [1.5, 1.0]}, "PIXEL_SPACING_VARIES"),
        ({"ImageOrientationPatient": None}, "NO_GEOMETRY"),
        ({"SamplesPerPixel": 3}, "NOT_GREYSCALE"),
        ({"PixelData": None}, "NO_PIXEL_DATA"),
        ({"PixelData": b"\0" * 20}, "TRUNCATED_FILE"),
        ({"PixelData": b"\0" * 96}, "BAD_PIXEL_FORMAT"),
        ({"BitsAllocated": 32}, "TRUNCATED_FILE"),
        ({"BitsAllocated": 12}, "BAD_PIXEL_FORMAT"),
        ({"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}, "BAD_PIXEL_FORMAT"),
        ({"BitsStored": 17}, "BAD_PIXEL_FORMAT"),
        ({"HighBit": 11}, "BAD_PIXEL_FORMAT"),
        ({"PixelRepresentation": 2}, "BAD_PIXEL_FORMAT"),
        ({"PixelSpacing": [0.0, 0.75]}, "NO_GEOMETRY"),
        ({"PixelSpacing": [-1.5, 0.75]}, "NO_GEOMETRY"),
        ({"PixelSpacing": [1e9, 0.75]}, "NO_GEOMETRY"),
        ({"ImagePositionPatient": [0.0, 1e9, 0.0]}, "NO_GEOMETRY"),
    ],
)
def test_one_image_with_other_tags(write_series, tmp_path: Path, tags: dict, reason: str) -> None:
    write_series(HU, per_image={3: tags})
    groups = index_series(tmp_path / "archive")
    assert any(reason in check_stack(group, GateConfig()).reasons for group in groups)


def test_same_file_twice_is_dropped_but_two_images_of_one_uid_are_refused(write_series, tmp_path: Path) -> None:
    paths = write_series(HU)
    copy = paths[2].with_name("copy.dcm")
    copy.write_bytes(paths[2].read_bytes())
    stack = check(tmp_path / "archive")
    assert (len(stack.headers), stack.reasons, stack.warnings) == (6, (), ("DUPLICATE_SOP",))
    copy.unlink()
    write_series(HU, per_image={index: {"SOPInstanceUID": "1.2.3"} for index in (1, 2)})
    assert "SOP_CONFLICT" in check(tmp_path / "archive").reasons


def test_private_transfer_syntax(write_series, tmp_path: Path) -> None:
    for path in write_series(HU):
        path.write_bytes(path.read_bytes().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.9.1\0"))
    assert check(tmp_path / "archive").reasons == ("UNSUPPORTED_TRANSFER_SYNTAX",)


def test_orientation_that_is_none(write_series, tmp_path: Path) -> None:
    write_series(HU, orientation=(1, 0, 0, 0.3, 1, 0))
    assert check(tmp_path / "archive").reasons == ("BAD_ORIENTATION",)


@pytest.mark.parametrize(
    "settings",
    [
        {"max_corner_error_mm": -0.5},
        {"max_corner_error_mm": float("nan")},
        {"max_tilt_deg": 0.0},
        {"max_interpolated_slices": -1},
    ],
)
def test_tolerances_that_cannot_be(settings: dict) -> None:
    with pytest.raises(ValidationError):
        GateConfig(**settings)


@pytest.mark.parametrize(("allowed", "reasons"), [(0, ("MISSING_SLICE",)), (1, ("MISSING_SLICE",)), (2, ()), (3, ())])
def test_missing_slices_up_to_a_number(write_series, tmp_path: Path, allowed: int, reasons: tuple[str, ...]) -> None:
    write_series(HU, positions=places(0, 5, 15, 20, 30, 35))
    (group,) = index_series(tmp_path / "archive")
    stack = check_stack(group, GateConfig(max_interpolated_slices=allowed))
    assert stack.reasons == reasons
    if not reasons:
        assert stack.slots == (0, 1, 3, 4, 6, 7) and stack.warnings == ("INTERPOLATED_SLICES",)
        assert stack_affine(stack.headers, stack.n_slices)[2, 2] == 5.0
