"""A node that is not node 0 of a training runs the training alone, and is told so."""

from types import SimpleNamespace

import pytest
from kedro.io import DataCatalog, MemoryDataset

from hyperct_pipeline.errors import ConfigError
from hyperct_pipeline.hooks import TrackingHook, TrainingNodeHook
from hyperct_pipeline.training.settings import FitConfig


def start(rank: int, *names: str, env: str | None = None) -> None:
    config = FitConfig(n_nodes=2, node_rank=rank, rendezvous="node0:29500")
    pipeline = SimpleNamespace(nodes=[SimpleNamespace(name=name) for name in names])
    catalog = DataCatalog({"params:fit": MemoryDataset(config, copy_mode="assign")})
    TrainingNodeHook().before_pipeline_run({"env": env}, pipeline, catalog)


def test_node_0_runs_what_it_likes() -> None:
    start(0, "index_archive", "fit_hyperct", "select_best")
    TrainingNodeHook().before_pipeline_run({}, SimpleNamespace(nodes=[]), DataCatalog({}))


@pytest.mark.parametrize("names", [("fit_hyperct", "select_best"), ("index_archive",)])
def test_other_nodes_are_told_their_command(names: tuple[str, ...]) -> None:
    start(1, "fit_hyperct")
    with pytest.raises(ConfigError) as caught:
        start(1, *names, env="paper")
    command = "kedro run --env=paper --pipelines=fit --to-nodes=fit_hyperct --params=...,fit.node_rank=1"
    assert command in str(caught.value) and "fit.node_rank is 1" in str(caught.value)


def test_other_nodes_open_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    hook = TrackingHook()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setattr("hyperct_pipeline.hooks.tracking.reachable", lambda uri: pytest.fail("it looked for a server"))
    hook.after_catalog_created(conf_catalog={}, parameters={"parameters": {"fit": {"node_rank": 1}}})
    hook.before_pipeline_run({}, SimpleNamespace(inputs=set), SimpleNamespace())
    assert hook._run is None
