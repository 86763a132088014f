"""Inputs are looked at before any node runs, so that a missing table does not end a night of conversion."""

import os
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines
from kedro.io import CatalogProtocol, DatasetError
from kedro.pipeline import Pipeline

from hyperct_pipeline.errors import MissingInputError, WeightsError
from hyperct_pipeline.hooks.failure_message import root_cause


class PreflightHook:
    """Loads each required input that says it is not there, and gathers what they have to say."""

    @hook_impl
    def after_catalog_created(self, conf_catalog: dict[str, Any], conf_creds: dict[str, Any]) -> None:
        """Remember which entries are required (`metadata.required_input: true`), and take the secret, if given.

        The secret may stand in a credentials file as `hyperct: {secret: ...}`; the environment goes first.
        """
        if secret := (conf_creds.get("hyperct") or {}).get("secret"):
            os.environ.setdefault("HYPERCT_SECRET", str(secret))
        self._required = {
            name
            for name, entry in conf_catalog.items()
            if isinstance(entry, dict) and ((entry.get("metadata") or {}).get("required_input"))
        }

    @hook_impl
    def before_pipeline_run(self, pipeline: Pipeline, catalog: CatalogProtocol[Any, Any]) -> None:
        """Check the inputs that no node of this run produces.

        Raises:
            MissingInputError: with the message of each missing input, which says both ways out.
            ConfigError: a model is named that the run would not use.
        """
        _refuse_unused_model(pipeline, catalog)
        messages = []
        for name in sorted(pipeline.inputs() & self._required):
            if catalog.exists(name):
                continue
            try:
                catalog.load(name)
            except DatasetError as error:
                cause = root_cause(error)
                if cause is None:
                    raise
                messages.append(str(cause))
        messages += _missing_tables(pipeline, catalog)
        messages += _missing_weights(pipeline, catalog)
        if len(messages) == 1:
            raise MissingInputError(messages[0])
        if messages:
            raise MissingInputError("\n".join([f"{len(messages)} inputs are missing.", *(f"- {m}" for m in messages)]))


def _missing_tables(pipeline: Pipeline, catalog: CatalogProtocol[Any, Any]) -> list[str]:
    """Tables and documents of earlier stages that are not there, and the stage that makes them."""
    missing: dict[str, list[str]] = {}
    for name in sorted(pipeline.inputs()):
        dataset = catalog.get(name)
        if dataset is not None and getattr(dataset, "is_required", False) and not dataset.exists():
            makers = [stage for stage, made in pipelines.items() if name in made.all_outputs()]
            # the stage itself, not a chain that contains it
            stage = min(makers, key=lambda stage: len(pipelines[stage].nodes), default="__default__")
            missing.setdefault(stage, []).append(name)
    return [_not_yet(names, stage) for stage, names in missing.items()]


def _not_yet(names: list[str], stage: str) -> str:
    one = len(names) == 1
    what = f"{names[0]} does" if one else f"{', '.join(names[:-1])} and {names[-1]} do"
    return f"{what} not exist in this data_root yet: `kedro run --pipeline={stage}` makes {'it' if one else 'them'}."


def _refuse_unused_model(pipeline: Pipeline, catalog: CatalogProtocol[Any, Any]) -> None:
    """Raises ConfigError where a model is named and the run would train another."""
    for name in sorted(pipeline.all_outputs()):
        if name in catalog and (refuse := getattr(catalog.get(name), "refuse_to_train", None)):
            refuse()


def _missing_weights(pipeline: Pipeline, catalog: CatalogProtocol[Any, Any]) -> list[str]:
    """Why the backbone of a training cannot be built; `hub` fetches the weights now, while somebody is looking."""
    if not any({"fit", "compare"} & node.tags for node in pipeline.nodes):
        return []
    from hyperct_pipeline.model.backbone import find_weights

    try:
        find_weights(catalog["params:backbone"].load())
    except WeightsError as error:
        return [str(error)]
    return []
