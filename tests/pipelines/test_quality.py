from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from pydantic import TypeAdapter

from hyperct_pipeline.pipelines.quality import nodes
from hyperct_pipeline.pipelines.quality.pipeline import create_pipeline
from hyperct_pipeline.volumes.quality import QualityConfig
from hyperct_pipeline.volumes.volume import Volume

CONF = Path(__file__).parents[2] / "conf"


def settings(environment: str) -> dict:
    return yaml.safe_load((CONF / environment / "parameters_quality.yml").read_text())["quality"]


CONFIG = TypeAdapter(QualityConfig).validate_python(settings("base"))


def chest(spacing_mm: float = 2.5) -> Volume:
    """An ellipse of water with two lungs and a spine, 40 cm wide and 30 cm high."""
    y, x = np.indices((128, 128)) * 3.0 - 190
    image = np.full((128, 128), -1000)
    image[(x / 170) ** 2 + (y / 120) ** 2 < 1] = 40
    for side in (-75, 75):
        image[((x - side) / 55) ** 2 + (y / 80) ** 2 < 1] = -830
    image[x**2 + (y + 90) ** 2 < 22**2] = 700
    noise = np.random.default_rng(0).normal(0, 15, (120, 128, 128))
    return Volume((image + noise).astype(np.int16), np.diag([3.0, 3.0, spacing_mm, 1.0]))


def verdicts(**volumes: Volume) -> dict[str, str]:
    manifest = pd.DataFrame({"study_key": list(volumes), "status": "converted", "output_sha256": "x"})
    lazy = {key: lambda volume=volume: volume for key, volume in volumes.items()}
    table = nodes.judge_volumes(manifest, lazy, CONFIG)
    assert len(nodes.draw_montage(table, lazy, CONFIG).axes) == len(volumes)
    return dict(zip(table["study_key"], table["verdict"], strict=True))


def test_catalog_names() -> None:
    pipeline = create_pipeline()
    assert pipeline.inputs() == {"conversion_manifest", "nifti", "params:quality"}
    assert pipeline.all_outputs() == {"quality_table", "quality_montage"}


def test_shipped_limits_tell_a_chest_from_what_is_none() -> None:
    good = chest()
    assert verdicts(
        good=good,
        thick=chest(spacing_mm=8.0),
        water=Volume(np.full_like(good.hu, 0), good.affine),
        unrescaled=Volume((good.hu + 1024).astype(np.int16), good.affine),
        short=Volume(good.hu[:10].copy(), good.affine),
    ) == {"good": "accept", "thick": "warn", "water": "reject", "unrescaled": "reject", "short": "reject"}


def test_paper_limits_are_valid() -> None:
    limits = settings("base")["limits"] | settings("paper")["limits"]
    TypeAdapter(QualityConfig).validate_python(settings("base") | {"limits": limits})
