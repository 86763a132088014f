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
                outputs=None,
                name="write_phantom",
                tags=["phantom"],
            )
        ]
    )
