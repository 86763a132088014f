"""What departs from the published setting, on the project's own files."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import TypeAdapter

from hyperct_pipeline.model.settings import BackboneConfig, HyperCTConfig
from hyperct_pipeline.training.published_setting import PUBLISHED, departures
from hyperct_pipeline.training.settings import FitConfig
from hyperct_pipeline.volumes.preprocessing import PreprocessConfig
from hyperct_pipeline.volumes.slices import SliceConfig

CONF = Path(__file__).parents[2] / "conf"
TYPES = {
    "preprocess": PreprocessConfig, "slices": SliceConfig, "backbone": BackboneConfig, "model": HyperCTConfig,
    "fit": FitConfig,
}  # fmt: skip
# the parameters that docs/model.md and conf/paper give for a training as published
AS_PUBLISHED = {
    "model": {"mode": "reference"},
    "slices": {"layout": "reference"},
    "fit": {"clip_norm": None, "warmup_steps": 0, "precision": "fp32"},
}


def groups(changes: dict[str, dict[str, Any]], environments: tuple[str, ...] = ("base", "paper")) -> dict[str, Any]:
    """The checked groups of the environments with runtime parameters on top."""
    raw: dict[str, dict[str, Any]] = {name: {} for name in TYPES}
    for environment in environments:
        for file in ("parameters_fit.yml", "parameters_preprocess.yml"):
            for name, values in yaml.safe_load((CONF / environment / file).read_text()).items():
                raw[name] |= values
    return {name: TypeAdapter(TYPES[name]).validate_python(raw[name] | changes.get(name, {})) for name in TYPES}


def test_the_documented_command_departs_nowhere() -> None:
    assert departures(groups(AS_PUBLISHED)) == []
    for file in (CONF / "paper" / "parameters_fit.yml", CONF.parent / "docs" / "model.md"):
        text = file.read_text()
        assert "fit.clip_norm=null,fit.warmup_steps=0,fit.precision=fp32" in text
        assert "model.mode=reference,slices.layout=reference," in text


def test_mode_alone_leaves_four_keys_of_the_paper_environment() -> None:
    found = departures(groups({"model": {"mode": "reference"}}))
    assert [tuple(departure) for departure in found] == [
        ("slices", "layout", "upright", "reference"),
        ("fit", "clip_norm", 1.0, None),
        ("fit", "warmup_steps", 500, 0),
        ("fit", "precision", "bf16", "fp32"),
    ]


def test_nothing_is_promised_by_the_default_mode() -> None:
    assert departures(groups({}, ("base",))) == []


def test_the_defaults_of_the_code_are_the_published_training() -> None:
    assert all(getattr(FitConfig(), key) == value for key, value in PUBLISHED["fit"].items())


@pytest.mark.parametrize(
    ("group", "change", "expected"),
    [
        ("model", {"init": "default"}, {"init", "embedding_std"}),
        ("model", {"slice_layout": "triplets"}, {"slice_layout"}),
        ("model", {"method": "hyperct_narrow"}, {"method", "generator", "head_in"}),
        ("model", {"head_in": 768, "head_norm": False, "embedding_std": 0.02}, set()),
        ("backbone", {"weights": "random"}, {"weights"}),
        ("backbone", {"weights": "dinov3.safetensors", "name": "vit_base_patch16_dinov3", "depth": 12}, set()),
        ("backbone", {"depth": 6}, {"depth"}),
        ("fit", {"lr": 1e-4, "weight_decay": 0.1, "device": "cpu", "seed": 3}, {"lr", "weight_decay"}),
        ("preprocess", {"shape_zyx": None, "spacing_mm": (1.5, 1.5, 1.5)}, {"shape_zyx", "spacing_mm"}),
    ],
)  # fmt: skip
def test_each_key_is_compared(group: str, change: dict[str, Any], expected: set[str]) -> None:
    published = groups(AS_PUBLISHED)
    changed = published | {group: replace(published[group], **change)}
    assert {departure.key for departure in departures(changed)} == expected
