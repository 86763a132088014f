"""A training on several nodes: node 0 writes everything, the others take their share of the steps and write nothing."""

import logging
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline

from hyperct_pipeline.errors import ConfigError

logger = logging.getLogger(__name__)

TRAINING = "fit_hyperct"


class TrainingNodeHook:
    """Refuses to run more than the training on a node that is not node 0."""

    @hook_impl
    def before_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol[Any, Any]
    ) -> None:
        """Look at `fit.node_rank`.

        Raises:
            ConfigError: there is more to run than the training, with the command for this node.
        """
        rank = node_rank(catalog)
        if rank == 0:
            return
        if {node.name for node in pipeline.nodes} != {TRAINING}:
            env = f" --env={run_params['env']}" if run_params.get("env") else ""
            raise ConfigError(
                f"fit.node_rank is {rank}: this node takes its share of the training, and node 0 does everything else. "
                f"Run here, with the --params of node 0 and fit.node_rank={rank}:\n"
                f"  kedro run{env} --pipelines=fit --to-nodes={TRAINING} --params=...,fit.node_rank={rank}"
            )
        logger.info("Node %d of a training: node 0 keeps its checkpoints, history and MLflow run.", rank)


def node_rank(catalog: CatalogProtocol[Any, Any]) -> int:
    """Number of this node in a training on several; 0 for every other run."""
    parameters = catalog.get("params:fit")
    return rank_of(parameters.load() if parameters is not None else {})


def rank_of(fit: object) -> int:
    """The same from the group `fit`, as a config object or as its fields."""
    return int((fit if isinstance(fit, dict) else vars(fit)).get("node_rank", 0))
