"""What `kedro run --pipeline=NAME` knows."""

from kedro.pipeline import Pipeline

from hyperct_pipeline.pipelines import (
    assess,
    convert,
    explain,
    fit,
    harmonize,
    infer,
    phantom,
    predict,
    preprocess,
    quality,
    report,
)

STAGES = {
    "phantom": phantom,
    "convert": convert,
    "quality": quality,
    "preprocess": preprocess,
    "harmonize": harmonize,
    "fit": fit,
    "predict": predict,
    "assess": assess,
    "explain": explain,
    "report": report,
    "infer": infer,
}
TRAIN = ("convert", "quality", "preprocess", "harmonize", "fit")
EVALUATE = ("predict", "assess", "explain", "report")


def register_pipelines() -> dict[str, Pipeline]:
    """Every stage, the chains `train` and `evaluate`, and `__default__`, which is both.

    Each node carries the name of its stage as a tag, so that Kedro-Viz can filter by stage.
    """
    stages = {name: Pipeline(module.create_pipeline(), tags={name}) for name, module in STAGES.items()}
    train = sum((stages[name] for name in TRAIN), Pipeline([]))
    evaluate = sum((stages[name] for name in EVALUATE), Pipeline([]))
    return {**stages, "train": train, "evaluate": evaluate, "__default__": train + evaluate}
