import gzip
import tracemalloc
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from hyperct_pipeline.errors import StoreError
from hyperct_pipeline.volumes.nifti_content import nifti_content
from hyperct_pipeline.volumes.nifti_file import read_nifti, write_nifti
from hyperct_pipeline.volumes.volume import Volume

HU = np.random.default_rng(3).integers(-1024, 1500, (6, 8, 10)).astype(np.int16)
AFFINE = np.array([[-0.7, 0, 0, 12], [0, -0.8, 0, 30], [0, 0, 2.5, -100], [0, 0, 0, 1.0]])


@pytest.fixture
def content(tmp_path: Path) -> bytes:
    """An uncompressed NIfTI of HU."""
    write_nifti(Volume(HU, AFFINE), tmp_path / "whole.nii")
    return (tmp_path / "whole.nii").read_bytes()


def test_every_flipped_bit_of_a_compressed_file_is_refused_or_harmless(tmp_path: Path) -> None:
    path = tmp_path / "v.nii.gz"
    volume = Volume(HU, AFFINE)
    write_nifti(volume, path)
    whole = path.read_bytes()
    refused = 0
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        try:
            assert read_nifti(path).digest() == volume.digest(), f"byte {position}"
        except StoreError:
            refused += 1
    # the time stamp and the like in the gzip header say nothing about the voxels
    assert len(whole) - 10 <= refused < len(whole)


def test_cuts_are_refused(tmp_path: Path, content: bytes) -> None:
    for name, whole in (("v.nii", content), ("v.nii.gz", gzip.compress(content))):
        for end in range(0, len(whole), 37):
            (tmp_path / name).write_bytes(whole[:end])
            with pytest.raises(StoreError, match=r"v\.nii.*convert"):
                nifti_content(tmp_path / name)


@pytest.mark.parametrize("name", ["v.nii", "v.nii.gz"])
def test_more_than_the_header_says_is_refused(tmp_path: Path, content: bytes, name: str) -> None:
    longer = content + b"x"
    (tmp_path / name).write_bytes(gzip.compress(longer) if name.endswith("gz") else longer)
    with pytest.raises(StoreError, match=r"cannot be read as NIfTI \(ValueError\)"):
        nifti_content(tmp_path / name)


def test_a_bomb_is_refused_before_it_fills_the_memory(tmp_path: Path, content: bytes) -> None:
    """300 MB of zeros behind a small image, and a header that promises 64 GB in a small file."""
    (tmp_path / "tail.nii.gz").write_bytes(gzip.compress(content + bytes(300_000_000), 1))
    header = nib.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape((32_000, 1000, 1000))
    header["vox_offset"], header["magic"] = 352, b"n+1"
    (tmp_path / "promise.nii.gz").write_bytes(gzip.compress(header.binaryblock + bytes(300_000_000), 1))
    tracemalloc.start()
    for name in ("tail.nii.gz", "promise.nii.gz"):
        with pytest.raises(StoreError):
            nifti_content(tmp_path / name)
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("field", "value"),
    [("magic", b"ni1"), ("datatype", 5), ("vox_offset", 0), ("dim", [9, 10, 8, 6, 1, 1, 1, 1]), ("dim", [3, -10] * 4)],
)
def test_impossible_headers_are_refused(tmp_path: Path, content: bytes, field: str, value: object) -> None:
    header = nib.Nifti1Header(content[:348])
    header[field] = value
    (tmp_path / "v.nii").write_bytes(header.binaryblock + content[348:])
    with pytest.raises(StoreError, match=r"v\.nii"):
        read_nifti(tmp_path / "v.nii")


def test_whole_files_are_given_as_they_are(tmp_path: Path, content: bytes) -> None:
    middle = len(content) // 2
    (tmp_path / "one.nii.gz").write_bytes(gzip.compress(content))
    (tmp_path / "two.nii.gz").write_bytes(gzip.compress(content[:middle]) + gzip.compress(content[middle:]))
    assert nifti_content(tmp_path / "whole.nii") == content
    assert nifti_content(tmp_path / "one.nii.gz") == content
    assert nifti_content(tmp_path / "two.nii.gz") == content  # as pigz and bgzip write
