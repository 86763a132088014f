"""The `convert` pipeline."""

from typing import Any

from kedro.pipeline import Pipeline, node

from hyperct_pipeline.pipelines.convert import nodes


def create_pipeline(**_: Any) -> Pipeline:
    """DICOM archive -> series_index, nifti, conversion_manifest."""
    return Pipeline(
        [
            node(
                nodes.index_archive,
                inputs=["dicom_archive", "nifti_table", "params:convert", "params:study_workers"],
                outputs="series_groups",
                name="index_archive",
            ),
            node(
                nodes.select_series,
                inputs=["series_groups", "pseudonyms", "exclusions", "overrides", "params:convert"],
                outputs=["series_index", "chosen_series"],
                name="select_series",
            ),
            node(nodes.crosswalk, inputs=["series_groups", "pseudonyms"], outputs="crosswalk", name="crosswalk"),
            node(
                nodes.convert_studies,
                inputs=[
                    "dicom_archive",
                    "chosen_series",
                    "conversion_rows_done",
                    "nifti_folder",
                    "params:convert",
                    "params:study_workers",
                ],
                outputs=["nifti", "conversion_rows"],
                name="convert_studies",
            ),
            node(
                nodes.conversion_manifest,
                inputs=["series_index", "conversion_rows"],
                outputs=["conversion_manifest", "conversion_timings"],
                name="conversion_manifest",
            ),
        ],
        tags="convert",
    )
