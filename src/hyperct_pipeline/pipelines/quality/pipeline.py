"""The `quality` pipeline."""

from typing import Any

from kedro.pipeline import Pipeline, node

from hyperct_pipeline.pipelines.quality import nodes


def create_pipeline(**_: Any) -> Pipeline:
    """conversion_manifest, nifti -> quality_table, quality_montage, quality_pages."""
    return Pipeline(
        [
            node(
                nodes.examine_studies,
                inputs=[
                    "conversion_manifest",
                    "nifti",
                    "quality_rows_done",
                    "quality_thumbnails_done",
                    "params:study_workers",
                ],
                # the row last: it says that the study is done
                outputs=["quality_thumbnails", "quality_rows"],
                name="examine_studies",
            ),
            node(
                nodes.judge_studies,
                inputs=["conversion_manifest", "quality_rows", "params:quality"],
                outputs="quality_table",
                name="judge_studies",
            ),
            node(
                nodes.draw_montage,
                inputs=["quality_table", "quality_thumbnails", "params:quality"],
                outputs="quality_montage",
                name="draw_montage",
            ),
            node(
                nodes.write_pages,
                inputs=["quality_table", "quality_thumbnails", "params:quality"],
                outputs="quality_pages",
                name="write_pages",
            ),
        ],
        tags="quality",
    )
