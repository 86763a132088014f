import itertools
from pathlib import Path

import numpy as np
import pytest

from hyperct_pipeline.volumes.nifti_file import read_nifti, write_nifti
from hyperct_pipeline.volumes.volume import Volume, orientation_of, to_ras

HU = np.random.default_rng(3).integers(-1024, 1500, (3, 4, 5)).astype(np.int16)
AFFINE = np.array([[-0.7, 0, 0, 12], [0, -0.8, 0, 30], [0, 0, 2.5, -100], [0, 0, 0, 1.0]])


def test_spacing_is_z_y_x() -> None:
    np.testing.assert_allclose(Volume(HU, AFFINE).spacing_mm, (2.5, 0.8, 0.7))


@pytest.mark.parametrize("signs", list(itertools.product([-1, 1], repeat=3)))
@pytest.mark.parametrize("axes", list(itertools.permutations(range(3))))
def test_reorienting_moves_no_voxel_in_space(signs: tuple[int, ...], axes: tuple[int, ...]) -> None:
    affine = np.eye(4)
    affine[:3, :3] = (np.diag(signs) @ np.diag([0.7, 0.8, 2.5]))[:, list(axes)]
    affine[:3, 3] = (12, 30, -100)
    turned = to_ras(Volume(HU, affine))
    assert orientation_of(turned.affine) == "RAS"
    for z, y, x in np.ndindex(HU.shape):
        i, j, k, _ = np.rint(np.linalg.inv(turned.affine) @ affine @ [x, y, z, 1]).astype(int)
        assert turned.hu[k, j, i] == HU[z, y, x]


def test_volume_in_ras_is_returned_as_it_is() -> None:
    volume = Volume(HU, np.diag([0.7, 0.8, 2.5, 1.0]))
    assert to_ras(volume) is volume


def test_wrong_arrays_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected int16 \(Z, Y, X\), found int32"):
        Volume(HU.astype(np.int32), AFFINE)
    with pytest.raises(ValueError, match=r"\(4, 4\) affine"):
        Volume(HU, AFFINE[:3])


def test_digest_is_the_same_after_a_file_at_any_compression(tmp_path: Path) -> None:
    oblique = np.array(
        [[0.7031, 0.0123, -0.1, 12.3456], [-0.0123, 0.8, 0.3, -0.0], [0.1, -0.3, 2.5, -1e3], [0, 0, 0, 1]]
    )
    volume = Volume(HU, oblique)
    for name, level in (("a.nii.gz", 1), ("b.nii.gz", 9), ("c.nii", 1)):
        write_nifti(volume, tmp_path / name, gzip_level=level)
        assert read_nifti(tmp_path / name).digest() == volume.digest()
    np.testing.assert_allclose(volume.affine, oblique, rtol=6e-8)  # half a step of float32


def test_digest_follows_voxels_affine_and_shape() -> None:
    changed = HU.copy()
    changed[0, 0, 0] += 1
    moved = AFFINE.copy()
    moved[0, 3] += 0.001
    volumes = [Volume(HU, AFFINE), Volume(changed, AFFINE), Volume(HU, moved), Volume(HU.reshape(4, 3, 5), AFFINE)]
    assert len({volume.digest() for volume in volumes}) == 4


def test_digest_does_not_depend_on_how_the_array_lies_in_memory() -> None:
    assert Volume(np.asfortranarray(HU), AFFINE).digest() == Volume(HU, AFFINE).digest()
