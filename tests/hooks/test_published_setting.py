"""A training that is half as published says so before any data is touched."""

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hyperct_pipeline.hooks.configuration import ConfigurationHook, ParameterPlaces
from hyperct_pipeline.model.settings import BackboneConfig, HyperCTConfig
from hyperct_pipeline.training.settings import FitConfig
from hyperct_pipeline.volumes.preprocessing import PreprocessConfig
from hyperct_pipeline.volumes.slices import SliceConfig

CONF = Path(__file__).parents[2] / "conf"
GROUPS: dict[str, Any] = {
    "preprocess": PreprocessConfig(shape_zyx=(164, 164, 164)),
    "slices": SliceConfig(layout="reference"),
    "backbone": BackboneConfig(weights="hub"),
    "model": HyperCTConfig(mode="reference"),
    "fit": FitConfig(clip_norm=1.0, warmup_steps=7, betas=(0.9, 0.99)),
}


def warnings(caplog: pytest.LogCaptureFixture, node: str, **changed: Any) -> list[str]:
    hook = ConfigurationHook()
    hook._places = ParameterPlaces(CONF, "paper", {"fit": {"warmup_steps": 7}})
    catalog = {f"params:{name}": SimpleNamespace(load=lambda value=value: value)
               for name, value in (GROUPS | changed).items()}  # fmt: skip
    with caplog.at_level(logging.WARNING):
        hook.before_pipeline_run(SimpleNamespace(nodes=[SimpleNamespace(name=node)]), catalog)
    return caplog.messages


def test_each_key_is_named_once_with_its_file_and_both_values(caplog: pytest.LogCaptureFixture) -> None:
    end = "; model.mode: reference does not set it (docs/model.md)"
    assert warnings(caplog, "fit_hyperct") == [
        f"conf/base/parameters_fit.yml: fit.betas is [0.9, 0.99], the published setting has [0.9, 0.95]{end}",
        f"conf/paper/parameters_fit.yml: fit.clip_norm is 1.0, the published setting has null{end}",
        f"--params: fit.warmup_steps is 7, the published setting has 0{end}",
    ]


def test_other_modes_and_other_nodes_are_silent(caplog: pytest.LogCaptureFixture) -> None:
    assert warnings(caplog, "draw_training") == []
    assert warnings(caplog, "fit_hyperct", model=HyperCTConfig()) == []
