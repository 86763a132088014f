"""Models of the same shape that never learned the task: what an analysis shows of them, training did not put there.

A control has starting values of its own. From those of the trained model it would keep most of what training left
alone, and be no control. They are the published ones, whose first updates are not zero; ours would leave nothing to
analyse.
"""

from collections.abc import Iterator
from dataclasses import replace

from hyperct_pipeline.model.backbone import build_backbone
from hyperct_pipeline.model.blocks import Backbone
from hyperct_pipeline.model.hyperct import HyperCT
from hyperct_pipeline.training.checkpoint import ModelPackage

N_UNTRAINED = 3  # controls that a share of variance is compared with


def untrained_model(package: ModelPackage, number: int = 1) -> HyperCT:
    """Untrained adapters and head on the same frozen backbone; another number, from 1, gives other weights."""
    return _started_anew(package, package.model.backbone, number)


def untrained_models(package: ModelPackage) -> Iterator[HyperCT]:
    """`N_UNTRAINED` controls one after the other, so that one at a time is held."""
    for number in range(1, N_UNTRAINED + 1):
        yield untrained_model(package, number)


def random_model(package: ModelPackage) -> HyperCT:
    """A model all of whose weights are random, those of the backbone too."""
    other = package.backbone_config.seed + 1  # a backbone that is random already gets other numbers
    return _started_anew(package, build_backbone(replace(package.backbone_config, weights="random", seed=other)), 1)


def _started_anew(package: ModelPackage, backbone: Backbone, number: int) -> HyperCT:
    config = replace(package.model_config, init="reference", seed=package.model_config.seed + number)
    return HyperCT(backbone, package.tasks, config).eval()
