"""How each kind of data is written to an MLflow run: no pickle, no paths, finite numbers only."""

import contextlib
import dataclasses
import hashlib
import json
import logging
import math
import os
import re
import tempfile
import time
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from filelock import FileLock

from hyperct_pipeline.harmless_csv import harmless

logger = logging.getLogger(__name__)

REGISTERED_MODEL = "hyperct"
WEIGHTS_TAG = "weights.digest"  # of a model version: digest of all weights, by which it is known again
MODEL_TAG = "model.id"  # of a run and of a model version: the logged model that it uses; a version itself does not say
# Groups that are whole documents; they are logged as a file, not as hundreds of parameters.
DOCUMENTS = ("task_catalogue", "label_sources")
# Parameters that may name a file; a path names people and machines, so only its last part is logged.
PATH_KEYS = ("weights",)
PATH_LIKE = re.compile(r"~|\.{0,2}[/\\]|[A-Za-z]:[/\\]|file:")  # ~/x /x ./x ../x \\host C:\x file:///x
BATCH = 100  # entries MLflow takes in one call


class TrackedRun:
    """One open MLflow run, addressed by its id, so that any thread may log to it."""

    def __init__(self, run_id: str, experiment_id: str, link: Mapping[str, str], pipeline: str = "") -> None:
        from mlflow import MlflowClient

        self.run_id = run_id
        self.experiment_id = experiment_id
        self._pipeline = pipeline  # what makes a model, for the tags of its version
        self._link = dict(link)  # {run_id, model_id, version} of the model of this run, or empty
        self._client = MlflowClient()

    @classmethod
    def create(cls, experiment: str, project: Path, tags: Mapping[str, str], link: Mapping[str, str]) -> "TrackedRun":
        """Open a run.

        Args:
            experiment: name of the experiment, made when it does not exist.
            project: folder of the local store and its artifacts.
            tags: tags of the run; its name is the tag `pipeline`.
            link: {run_id, model_id, version} of the model that the run evaluates, or empty.
        """
        from mlflow import MlflowClient
        from mlflow.entities import LoggedModelInput

        uri = os.environ["MLFLOW_TRACKING_URI"]
        local = not uri.startswith("http")
        # two processes that create one sqlite store at the same time break each other's migration
        with FileLock(project / ".mlflow.lock") if local else contextlib.nullcontext():
            client = MlflowClient()
            found = client.get_experiment_by_name(experiment)
            location = (_store_folder(uri, project) / "mlartifacts").as_uri() if local else None
            experiment_id = found.experiment_id if found else client.create_experiment(experiment, location)
        tags = dict(tags)
        if link and not _knows(client, link["model_id"]):
            logger.warning("this MLflow store does not know the model: the run is not linked to its training")
            link = {}
        if link:
            tags |= {
                "mlflow.parentRunId": link["run_id"],
                "model.version": link["version"],
                MODEL_TAG: link["model_id"],
            }
        run = client.create_run(experiment_id, tags=tags, run_name=tags["pipeline"])
        if link:
            client.log_inputs(run.info.run_id, models=[LoggedModelInput(link["model_id"])])
        return cls(run.info.run_id, experiment_id, link, tags["pipeline"])

    def log_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Log scalar parameters one by one and all of them as `configuration.json`."""
        from mlflow.entities import Param

        plain = _plain(parameters)
        flat = flat_parameters({name: value for name, value in plain.items() if name not in DOCUMENTS})
        params = [Param(key, value) for key, value in flat.items()]
        for start in range(0, len(params), BATCH):
            self._client.log_batch(self.run_id, params=params[start : start + BATCH])
        self._client.log_dict(self.run_id, plain, "configuration.json")

    def log(self, name: str, entry: Mapping[str, Any], data: Any) -> None:
        """Log one saved dataset as its catalog entry asks.

        Args:
            name: name of the dataset.
            entry: `kind` (figure, table, text, json, metrics, history or dataset) and `to`, the artifact folder; a
                json may say `model_version: true`.
            data: what the node gave.
        """
        kind, folder = entry["kind"], entry.get("to", "")
        target = f"{folder}/{name}" if folder else name
        if kind == "figure":
            figures = data if isinstance(data, dict) else {"": data}
            for part, figure in figures.items():
                self._client.log_figure(self.run_id, figure, f"{target}/{part}.png" if part else f"{target}.png")
        elif kind == "table":
            self._client.log_text(self.run_id, harmless(data).to_csv(index=False), f"{target}.csv")
        elif kind == "text":
            self._client.log_text(self.run_id, data, f"{target}{entry.get('suffix', '.txt')}")
        elif kind == "json":
            self._log_json(name, entry, data, f"{target}.json")
        elif kind == "metrics":
            self._log_metrics(dict(zip(data["metric"] + "/" + data["task"], data["value"], strict=True)), step=0)
        elif kind == "history":
            for epoch, values in data.items():
                self._log_metrics(values, step=int(re.sub(r"\D", "", epoch)))
        elif kind == "dataset":
            self._log_fingerprint(name, data, entry.get("columns", list(data)))
        else:
            raise ValueError(f"catalog entry '{name}': unknown metadata.mlflow.kind '{kind}'")

    def _log_json(self, name: str, entry: Mapping[str, Any], document: Mapping[str, Any], target: str) -> None:
        """Log a document; one with `model_version: true` belongs to the model.

        It is put beside the model's weights too, and the hash of the split it was fitted on becomes a tag of the
        version.
        """
        self._client.log_dict(self.run_id, dict(document), target)
        if not entry.get("model_version") or not self._link:
            return
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / f"{name}.json").write_text(json.dumps(document, allow_nan=False))
            self._client.log_model_artifacts(self._link["model_id"], folder)
        digest = str(document["split_digest"])
        self._client.set_model_version_tag(REGISTERED_MODEL, self._link["version"], f"{name}.split_digest", digest)

    def _log_metrics(self, values: Mapping[str, Any], step: int) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        finite = {
            key: float(value)
            for key, value in values.items()
            if isinstance(value, int | float) and not pd.isna(value) and math.isfinite(value)
        }
        metrics = [
            Metric(name, finite[key], now, step, model_id=self._link.get("model_id"))
            for key, name in _metric_names(finite).items()
        ]
        for start in range(0, len(metrics), BATCH):
            self._client.log_batch(self.run_id, metrics=metrics[start : start + BATCH])

    def _log_fingerprint(self, name: str, table: pd.DataFrame, columns: Iterable[Any]) -> None:
        """Log which data a run used: row count, these columns and a digest of the content; no rows, no source path."""
        from mlflow.entities import Dataset, DatasetInput

        digest = hashlib.sha256(pd.util.hash_pandas_object(table, index=False).to_numpy().tobytes()).hexdigest()[:16]
        profile = json.dumps({"rows": len(table), "columns": list(map(str, columns))})
        dataset = Dataset(name, digest, "local", "{}", profile=profile)
        self._client.log_inputs(self.run_id, datasets=[DatasetInput(dataset, [])])

    def log_model(self, folder: Path, package: Any) -> dict[str, str]:
        """Log and register the package as a pyfunc whose code is `scoring_model.py`.

        Where the latest version has these weights already, as after a `fit` that found nothing left to train, there is
        no new one: the run is linked to that version.

        Args:
            folder: the saved package (safetensors + JSON).
            package: the same in memory, for the signature.

        Returns:
            {run_id, model_id, version} to find the training run from the weights.
        """
        from mlflow.entities import LoggedModelInput, LoggedModelOutput

        client = self._client
        if not client.search_registered_models(f"name = '{REGISTERED_MODEL}'"):
            client.create_registered_model(REGISTERED_MODEL)
        latest = self._latest_version()
        if latest is not None and latest.tags.get(WEIGHTS_TAG) == package.model_id:
            logger.info("these weights are version %s of %s already", latest.version, REGISTERED_MODEL)
            model_id = latest.tags[MODEL_TAG]
            self._link = {"run_id": latest.run_id, "model_id": model_id, "version": str(latest.version)}
            client.log_inputs(self.run_id, models=[LoggedModelInput(model_id)])
            return self._link
        with tempfile.TemporaryDirectory() as temporary:
            model = Path(temporary) / "model"
            _save_pyfunc(model, folder, package)
            # not Model.log: it tags the model with the user's name and the path of the program
            logged = client.create_logged_model(self.experiment_id, REGISTERED_MODEL, source_run_id=self.run_id)
            client.log_model_artifacts(logged.model_id, str(model))
        client.finalize_logged_model(logged.model_id, "READY")
        client.log_outputs(self.run_id, [LoggedModelOutput(logged.model_id, step=0)])
        version = client.create_model_version(
            REGISTERED_MODEL,
            f"models:/{logged.model_id}",
            self.run_id,
            tags={
                WEIGHTS_TAG: package.model_id,
                MODEL_TAG: logged.model_id,
                "pipeline": self._pipeline,
                "tasks": str(len(package.tasks)),
            },
            model_id=logged.model_id,
        )
        self._link = {"run_id": self.run_id, "model_id": logged.model_id, "version": str(version.version)}
        return self._link

    def _latest_version(self) -> Any:
        """The newest version of the registered model, or None."""
        versions = self._client.search_model_versions(
            f"name = '{REGISTERED_MODEL}'", max_results=1, order_by=["version_number DESC"]
        )
        return versions[0] if versions else None

    def end(self, status: str, error: str | None = None) -> None:
        """Close the run as FINISHED, FAILED or KILLED.

        Args:
            status: one of these.
            error: kind of what stopped it, which becomes the tag `error`; its text stays in the log.
        """
        if error is not None:
            self._client.set_tag(self.run_id, "error", error)
        self._client.set_terminated(self.run_id, status=status)


def _knows(client: Any, model_id: str) -> bool:
    """Whether a logged model is in this store; a package may come from another one."""
    from mlflow.exceptions import MlflowException

    try:
        client.get_logged_model(model_id)
    except MlflowException:
        return False
    return True


def _save_pyfunc(target: Path, folder: Path, package: Any) -> None:
    """Write an MLflow model (code + safetensors) whose description names no path of this machine."""
    import mlflow.pyfunc
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    signature = ModelSignature(
        inputs=Schema([TensorSpec(np.dtype("int16"), (-1, -1, -1, -1), "hu_zyx")]),
        outputs=Schema([TensorSpec(np.dtype("float64"), (-1, len(package.tasks)))]),
    )
    with warnings.catch_warnings():
        # the signature is given; an input example would be a volume of somebody
        warnings.filterwarnings("ignore", "(?s).*input example", UserWarning)
        mlflow.pyfunc.save_model(
            target,
            python_model=str(Path(__file__).with_name("scoring_model.py")),
            artifacts={"package": str(folder)},
            signature=signature,
            pip_requirements=["hyperct-pipeline"],
            metadata={"tasks": list(package.tasks), "preprocess_digest": package.preprocess_digest},
        )
    description = yaml.safe_load((target / "MLmodel").read_text())
    function = description["flavors"]["python_function"]
    function["model_code_path"] = Path(function["model_code_path"]).name
    for artifact in function["artifacts"].values():
        artifact["uri"] = artifact["path"]
    (target / "MLmodel").write_text(yaml.safe_dump(description))


def flat_parameters(tree: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested parameters as `group.key` -> text; lists as JSON."""
    flat: dict[str, str] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= flat_parameters(value, f"{prefix}{key}.")
        else:
            flat[_allowed(f"{prefix}{key}")] = value if isinstance(value, str) else json.dumps(value)
    return flat


def _plain(value: Any, key: str = "") -> Any:
    """Config objects as plain JSON data; a path keeps its last part only."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name), field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(name): _plain(item, str(name)) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, Path) or (isinstance(value, str) and (key in PATH_KEYS or PATH_LIKE.match(value))):
        return re.split(r"[/\\]", str(value))[-1]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _metric_names(keys: Iterable[str]) -> dict[str, str]:
    """Key -> a name that MLflow takes; keys that would become the same name are numbered."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for key in keys:
        name, n = _allowed(key), 1
        while (numbered := name if n == 1 else f"{name}_{n}") in taken:
            n += 1
        names[key] = numbered
        taken.add(numbered)
    return names


def _allowed(name: str) -> str:
    """MLflow refuses brackets and percent signs in names."""
    return re.sub(r"[^\w./ :-]", "_", name)


def _store_folder(uri: str, project: Path) -> Path:
    file = uri.removeprefix("sqlite:///") if uri.startswith("sqlite:///") else ""
    return (project / file).resolve().parent if file else project
