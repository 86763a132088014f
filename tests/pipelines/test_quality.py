from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from pydantic import TypeAdapter

from hyperct_pipeline.pipelines.quality import nodes
from hyperct_pipeline.pipelines.quality.pipeline import create_pipeline
from hyperct_pipeline.study_workers import ONE_AT_A_TIME
from hyperct_pipeline.volumes.converted import NiftiFile
from hyperct_pipeline.volumes.nifti_file import write_nifti
from hyperct_pipeline.volumes.quality import QualityConfig
from hyperct_pipeline.volumes.quality_checks import CHECKS
from hyperct_pipeline.volumes.volume import Volume

CONF = Path(__file__).parents[2] / "conf"


def settings(environment: str) -> dict:
    return yaml.safe_load((CONF / environment / "parameters_quality.yml").read_text())["quality"]


CONFIG = TypeAdapter(QualityConfig).validate_python(settings("base"))


def chest(spacing_mm: float = 2.5) -> Volume:
    """An ellipse of water with two lungs above a liver, and a spine; 40 cm wide, 30 cm deep."""
    y, x = np.indices((128, 128)) * 3.0 - 190
    outside, body = np.full((128, 128), -1000), np.full((128, 128), -1000)
    body[(x / 170) ** 2 + (y / 120) ** 2 < 1] = 0
    body[(x / 150) ** 2 + (y / 100) ** 2 < 1] = 40
    body[x**2 + (y + 90) ** 2 < 22**2] = 700
    thorax, belly = body.copy(), body.copy()
    for side in (-75, 75):
        thorax[((x - side) / 55) ** 2 + (y / 80) ** 2 < 1] = -830
    belly[((x + 70) / 60) ** 2 + (y / 70) ** 2 < 1] = -120  # fat and bowel on the left
    noise = np.random.default_rng(0).normal(0, 15, (120, 128, 128))
    hu = np.concatenate([np.broadcast_to(belly, (30, 128, 128)), np.broadcast_to(thorax, (90, 128, 128))]) + noise
    hu[:, outside == body] = -1000
    return Volume(hu.astype(np.int16), np.diag([3.0, 3.0, spacing_mm, 1.0]))


def judged(folder: Path, volumes: dict[str, Volume], warnings: str = "") -> pd.DataFrame:
    """The quality table, by the nodes in their order."""
    nifti = {key: NiftiFile(folder / f"{key}.nii.gz") for key in volumes}
    for key, volume in volumes.items():
        write_nifti(volume, nifti[key].path)
    digests = [volume.digest() for volume in volumes.values()]
    manifest = pd.DataFrame({"study_key": list(volumes), "status": "converted", "content_sha256": digests})
    manifest = manifest.assign(warnings=warnings, scanner="ACME CT1")
    chunks = list(nodes.examine_studies(manifest, nifti, {}, {}, ONE_AT_A_TIME))
    assert chunks[0] == ({}, {})  # so that Kedro has a first chunk
    pictures = {key: lambda png=png: png for chunk, _ in chunks for key, png in chunk.items()}
    rows = {key: row for _, chunk in chunks for key, row in chunk.items()}
    table = nodes.judge_studies(manifest, rows, CONFIG)
    assert list(nodes.examine_studies(manifest, nifti, rows, pictures, ONE_AT_A_TIME)) == [({}, {})]
    assert len(nodes.draw_montage(table, pictures, CONFIG).axes) == len(volumes)
    (page,) = nodes.write_pages(table, pictures, CONFIG).values()
    assert page().count(b"<article") == len(volumes)
    return table.set_index("study_key")


def test_catalog_names() -> None:
    pipeline = create_pipeline()
    assert pipeline.inputs() == {
        "conversion_manifest", "nifti", "quality_rows_done", "quality_thumbnails_done", "params:quality",
        "params:study_workers",
    }  # fmt: skip
    assert pipeline.all_outputs() == {
        "quality_rows", "quality_thumbnails", "quality_table", "quality_montage", "quality_pages",
    }  # fmt: skip


def test_shipped_limits_tell_a_chest_from_what_is_none(tmp_path: Path) -> None:
    good = chest()
    table = judged(
        tmp_path,
        {
            "good": good,
            "thick": chest(spacing_mm=8.0),
            "water": Volume(np.full_like(good.hu, 0), good.affine),
            "unrescaled": Volume((good.hu + 1024).astype(np.int16), good.affine),
            "short": Volume(good.hu[:10].copy(), good.affine),
            "mirrored": Volume(good.hu[:, :, ::-1].copy(), good.affine),
            "upside_down": Volume(good.hu[::-1].copy(), good.affine),
            "face_down": Volume(good.hu[:, ::-1].copy(), good.affine),
        },
    )
    assert table["verdict"].to_dict() == {
        "good": "accept", "thick": "warn", "water": "reject", "unrescaled": "reject", "short": "reject",
        "mirrored": "warn", "upside_down": "warn", "face_down": "warn",
    }  # fmt: skip
    assert "LOW_LIVER_RIGHT_OF_CENTRE_MM" in table.loc["mirrored", "reason_codes"]
    assert "LOW_LUNG_ABOVE_BELLY_SHARE" in table.loc["upside_down", "reason_codes"]
    assert "LOW_BONE_BEHIND_CENTRE_MM" in table.loc["face_down", "reason_codes"]


def test_what_the_conversion_warned_of_is_judged(tmp_path: Path) -> None:
    table = judged(tmp_path, {"a": chest()}, warnings="LOSSY;ORIENTATION_NOT_LPS")
    assert table.loc["a", ["verdict", "reason_codes"]].tolist() == ["warn", "HIGH_UNUSUAL_ORIENTATION;HIGH_LOSSY"]


def test_every_check_has_a_limit_on_which_it_can_fail() -> None:
    assert set(CONFIG.limits) == set(CHECKS)
    for name, limits in CONFIG.limits.items():
        assert {limits.judge(-1e9)[0], limits.judge(1e9)[0]} != {"accept"}, name


def test_paper_limits_are_valid() -> None:
    limits = settings("base")["limits"] | settings("paper")["limits"]
    TypeAdapter(QualityConfig).validate_python(settings("base") | {"limits": limits})
