import numpy as np
import pytest

from hyperct_pipeline.volumes.thumbnail import pixels, thumbnail
from hyperct_pipeline.volumes.volume import Volume


def scan(shape_zyx: tuple[int, int, int], affine: np.ndarray) -> Volume:
    return Volume(np.full(shape_zyx, -1350, dtype=np.int16), affine)


def test_views_windows_and_directions() -> None:
    volume = scan((6, 20, 10), np.diag([1.0, 1.0, 2.0, 1.0]))
    volume.hu[3, 18, 9] = 40  # axial mid-slice, patient's front and right
    volume.hu[5, 10, 0] = 40  # coronal mid-slice, head and left
    image = pixels(thumbnail(volume))
    assert image.shape == (20 + 12, 2 * 10)  # axial above coronal (12 mm in 1 mm pixels), two windows
    lung, mediastinum = image[:, :10], image[:, 10:]
    assert lung[1, 0] == pytest.approx((40 + 1350) / 1500, abs=1 / 63)
    assert mediastinum[1, 0] == pytest.approx((40 + 160) / 400, abs=1 / 63)
    assert lung[20, 9] > 0.9 and lung[21, 9] > 0.9 and lung[22, 9] == 0  # two rows of 1 mm per slice of 2 mm
    assert np.count_nonzero(lung) == 3


def test_flipped_arrays_give_the_same_picture() -> None:
    volume = scan((6, 20, 10), np.diag([1.0, 1.0, 2.0, 1.0]))
    volume.hu[3, 18, 9] = 40
    flip = np.diag([-1.0, 1.0, 1.0, 1.0])
    flip[0, 3] = 9
    turned = Volume(np.ascontiguousarray(volume.hu[:, :, ::-1]), volume.affine @ flip)
    assert thumbnail(turned) == thumbnail(volume)


def test_clinical_size_is_small_and_a_mean_of_pixels() -> None:
    volume = scan((100, 512, 512), np.diag([0.7, 0.7, 2.5, 1.0]))
    volume.hu[:, :, ::2] = 150  # alternating columns: the mean is the middle of the lung window
    image = pixels(thumbnail(volume))
    assert image.shape == (128 + 90, 256)  # 250 mm in pixels of 2.8 mm
    np.testing.assert_allclose(image[:, :128], 0.5, atol=1 / 63)
