"""Kedro-Viz can read the project and shows previews of figures and tables."""

import json
from typing import Any

import pytest

pytestmark = pytest.mark.slow


def test_the_lineage_is_exported_with_layers_and_previews(chain: Any) -> None:
    printed = chain.run("kedro", "viz", "build", "--include-previews")
    assert "circular dependency" not in printed
    main = json.loads((chain.folder / "build/api/main").read_text())
    assert {"train", "evaluate", "infer", "phantom", "__default__"} <= {p["id"] for p in main["pipelines"]}
    for pipeline in main["pipelines"]:  # without a sound order of its layers a pipeline has none
        assert json.loads((chain.folder / "build/api/pipelines" / pipeline["id"]).read_text())["layers"], pipeline["id"]
    assert main["layers"] == [
        "raw",
        "intermediate",
        "primary",
        "feature",
        "model_input",
        "models",
        "model_output",
        "reporting",
    ]
    names = {node["name"]: node["id"] for node in main["nodes"]}
    figure = json.loads((chain.folder / "build/api/nodes" / names["auroc_figure"]).read_text())
    assert figure["preview_type"] == "ImagePreview"
    metrics = json.loads((chain.folder / "build/api/nodes" / names["metrics"]).read_text())
    assert metrics["preview_type"] == "TablePreview"
    predictions = json.loads((chain.folder / "build/api/nodes" / names["predictions"]).read_text())
    assert not predictions.get("preview")
