"""The `quality` pipeline."""

from typing import Any

from kedro.pipeline import Pipeline, node

from hyperct_pipeline.pipelines.quality import nodes


def create_pipeline(**_: Any) -> Pipeline:
    """conversion_manifest, nifti -> quality_table, quality_montage."""
    return Pipeline(
        [
            node(
                nodes.judge_volumes,
                inputs=["conversion_manifest", "nifti", "params:quality"],
                outputs="quality_table",
                name="judge_volumes",
            ),
            node(
                nodes.draw_montage,
                inputs=["quality_table", "nifti", "params:quality"],
                outputs="quality_montage",
                name="draw_montage",
            ),
        ],
        tags="quality",
    )
