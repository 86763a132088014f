"""What `kedro run --pipeline=NAME` knows."""

from kedro.pipeline import Pipeline

from hyperct_pipeline.pipelines.assess import pipeline as assess
from hyperct_pipeline.pipelines.compare import pipeline as compare
from hyperct_pipeline.pipelines.convert import pipeline as convert
from hyperct_pipeline.pipelines.explain import pipeline as explain
from hyperct_pipeline.pipelines.export import pipeline as export
from hyperct_pipeline.pipelines.extend import pipeline as extend
from hyperct_pipeline.pipelines.fit import pipeline as fit
from hyperct_pipeline.pipelines.harmonize import pipeline as harmonize
from hyperct_pipeline.pipelines.infer import pipeline as infer
from hyperct_pipeline.pipelines.phantom import pipeline as phantom
from hyperct_pipeline.pipelines.predict import pipeline as predict
from hyperct_pipeline.pipelines.preprocess import pipeline as preprocess
from hyperct_pipeline.pipelines.quality import pipeline as quality
from hyperct_pipeline.pipelines.report import pipeline as report

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
    "compare": compare,
    "export": export,
    "extend": extend,
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
