"""The `preprocess` pipeline."""

from typing import Any

from kedro.pipeline import Pipeline, node

from hyperct_pipeline.pipelines.preprocess import nodes


def create_pipeline(config: str = "params:preprocess", **_: Any) -> Pipeline:
    """quality_table, nifti -> volume_store, preprocess_table.

    Args:
        config: dataset that holds the PreprocessConfig.
    """
    return Pipeline(
        [
            node(
                nodes.preprocess_studies,
                inputs=[
                    "quality_table",
                    "nifti",
                    "preprocess_rows_done",
                    "volume_store_done",
                    config,
                    "params:study_workers",
                ],
                outputs=["volume_store", "preprocess_rows"],
                name="preprocess_studies",
            ),
            node(
                nodes.preprocess_table,
                inputs=["quality_table", "preprocess_rows"],
                outputs="preprocess_table",
                name="preprocess_table",
            ),
        ],
        tags="preprocess",
    )
