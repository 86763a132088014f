"""The `phantom` pipeline: the embedded synthetic archive that every other pipeline can run on."""

from kedro.pipeline import Pipeline, node, pipeline

from hyperct_pipeline.pipelines.phantom.nodes import write_archive


def create_pipeline(**_: object) -> Pipeline:
    """One node: settings in, archive and label tables out."""
    return pipeline(
        [
            node(
                write_archive,
                inputs={"folder": "phantom_folder", "config": "params:phantom"},
                outputs=[
                    "phantom_truth",
                    "phantom_ct_rate",
                    "phantom_hyperct_wide",
                    "phantom_echo_metric",
                    "phantom_cohorts",
                ],
                name="write_phantom",
                tags=["phantom"],
            )
        ]
    )
