"""Kedro-Viz can lay the datasets of every pipeline out in layers."""

import logging
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from kedro_viz.services.layers import sort_layers

from hyperct_pipeline.pipeline_registry import register_pipelines

CONF = Path(__file__).parents[1] / "conf" / "base"
PIPELINES = register_pipelines()
ORDER = ["raw", "intermediate", "primary", "feature", "model_input", "models", "model_output", "reporting"]


def layers_of_catalog() -> dict[str, str]:
    """Layer by dataset; of a dataset that is read two ways (`a@x`, `a@y`) Kedro-Viz shows one."""
    entries = {}
    for file in sorted(CONF.glob("catalog*.yml")):
        entries |= yaml.safe_load(file.read_text())
    found = {
        name.split("@")[0]: (entry.get("metadata") or {}) for name, entry in entries.items() if type(entry) is dict
    }
    return {name: metadata["kedro-viz"]["layer"] for name, metadata in found.items() if "kedro-viz" in metadata}


LAYERS = layers_of_catalog()


@pytest.mark.parametrize("name", PIPELINES)
def test_layers_have_no_cycle(name: str, caplog: pytest.LogCaptureFixture) -> None:
    nodes: dict[str, SimpleNamespace] = {}
    children: dict[str, set[str]] = {}

    def place(dataset: str) -> str:
        plain = dataset.split("@")[0]
        nodes.setdefault(plain, SimpleNamespace(layer=LAYERS.get(plain)))
        children.setdefault(plain, set())
        return plain

    for node in PIPELINES[name].nodes:
        nodes[node.name], children[node.name] = SimpleNamespace(layer=None), {place(made) for made in node.outputs}
        for used in node.inputs:
            children[place(used)].add(node.name)
    with caplog.at_level(logging.WARNING):
        found = sort_layers(nodes, children)
    assert not caplog.messages
    assert set(found) == {node.layer for node in nodes.values() if node.layer}
    if name in ("train", "__default__"):
        assert found == [layer for layer in ORDER if layer in found]


def test_a_namespace_folded_into_one_node_has_no_cycle(caplog: pytest.LogCaptureFixture) -> None:
    whole = PIPELINES["infer"]
    assert {node.namespace for node in whole.nodes} == {"infer"}
    ends = {name.split("@")[0] for name in whole.inputs() | whole.outputs()}
    nodes = {name: SimpleNamespace(layer=LAYERS.get(name)) for name in ends} | {"infer": SimpleNamespace(layer=None)}
    children = {name.split("@")[0]: {"infer"} for name in whole.inputs()}
    children |= {name: set() for name in whole.outputs()} | {"infer": set(whole.outputs())}
    with caplog.at_level(logging.WARNING):
        assert sort_layers(nodes, children)
    assert not caplog.messages


def test_a_cycle_would_be_found(caplog: pytest.LogCaptureFixture) -> None:
    nodes = {name: SimpleNamespace(layer=layer) for name, layer in (("a", "raw"), ("b", "feature"), ("c", "raw"))}
    assert sort_layers(nodes, {"a": {"b"}, "b": {"c"}, "c": set()}) == []
    assert "circular dependency" in caplog.text
