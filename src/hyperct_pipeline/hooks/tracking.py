"""One MLflow run per `kedro run`, driven by `metadata.mlflow` of the catalog's entries.

An own hook instead of a plugin: the run is addressed by its id, so that threads and a resumed process write to the same
run, and its status stays true after an error, Ctrl-C and SIGTERM. Tracking never costs the work: the first failed call
switches it off with one warning.
"""

import atexit
import contextlib
import json
import logging
import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import urlsplit

from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline

from hyperct_pipeline import __version__
from hyperct_pipeline.atomic_file import replacing
from hyperct_pipeline.evaluation.prediction_problems import COLUMNS, RIVAL
from hyperct_pipeline.evaluation.run_facts import commit_of
from hyperct_pipeline.hooks.failure_message import root_cause
from hyperct_pipeline.hooks.tracked_data import TrackedRun
from hyperct_pipeline.hooks.training_node import rank_of

logger = logging.getLogger(__name__)

EXPERIMENT = "hyperct_pipeline"
LINK_FILE = "mlflow.json"
INPUT = "input"  # kind of an entry whose fingerprint is logged when it is loaded
CONNECT_TIMEOUT_S = 5
USUAL_PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}
# A server that stops answering mid-run costs two attempts of this length, then tracking is off.
DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


class TrackingHook:
    """Opens the run, logs the saved datasets and given tables that ask for it, and closes it with its true status."""

    def __init__(self) -> None:
        self._run: TrackedRun | None = None
        self._lock = threading.Lock()
        self._parameters: dict[str, Any] = {}
        self._entries: dict[str, dict[str, Any]] = {}

    @hook_impl(tryfirst=True)
    def after_context_created(self, context: KedroContext) -> None:
        """Point MLflow to the project's own store unless the environment names a server."""
        store = (Path(context.project_path) / "mlflow.db").as_posix()
        os.environ.setdefault("MLFLOW_TRACKING_URI", f"sqlite:///{store}")
        for name, value in DEFAULTS.items():
            os.environ.setdefault(name, value)
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # a page of traceback beside our warning
        self._project = Path(context.project_path)
        self._context = context

    @hook_impl
    def after_catalog_created(self, conf_catalog: dict[str, Any], parameters: dict[str, Any]) -> None:
        """Remember what each entry wants logged."""
        self._entries = {
            name: entry["metadata"]["mlflow"]
            for name, entry in conf_catalog.items()
            if isinstance(entry, dict) and "mlflow" in (entry.get("metadata") or {})
        }
        self._parameters = parameters["parameters"]

    @hook_impl(trylast=True)
    def before_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol[Any, Any]
    ) -> None:
        """Open the run, with the parameters that this pipeline reads and a link to the model it evaluates."""
        self._catalog = catalog
        if rank_of(self._parameters.get("fit", {})):  # node 0 of the training has the run
            return
        uri = os.environ["MLFLOW_TRACKING_URI"]
        if not reachable(uri):
            logger.warning("MLflow does not answer within %d s: this run is not tracked.", CONNECT_TIMEOUT_S)
            return
        names = run_params.get("pipeline_names") or [run_params.get("pipeline_name") or "__default__"]
        tags = {
            "pipeline": ",".join(str(name) for name in names),
            "kedro.env": str(run_params.get("env") or "local"),
            "kedro.runner": _runner_name(run_params.get("runner")),
            "hyperct_pipeline.version": __version__,
            "hyperct_pipeline.commit": commit_of(Path(__file__).parent),
        }
        groups = {
            name.removeprefix("params:").split(".")[0] for name in pipeline.inputs() if name.startswith("params:")
        }
        used = {name: value for name, value in self._parameters.items() if name in groups}
        self._guarded(lambda: self._open(tags, used, self._model_link(pipeline, catalog)))

    def _open(self, tags: dict[str, str], parameters: dict[str, Any], link: dict[str, str]) -> None:
        self._run = TrackedRun.create(EXPERIMENT, self._project, tags, link)
        atexit.register(self._end, "KILLED")
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, _exit_on_sigterm)
        self._run.log_parameters(parameters)

    def _model_link(self, pipeline: Pipeline, catalog: CatalogProtocol[Any, Any]) -> dict[str, str]:
        """Ids of the training run and model version behind a package that this run only reads."""
        for name, entry in self._entries.items():
            if entry.get("kind") == "model" and name in pipeline.inputs():
                file = _folder(catalog, name) / LINK_FILE
                return dict(json.loads(file.read_text())) if file.is_file() else {}
        return {}

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Log the dataset, or the chunk of it that a generator node has just produced."""
        entry = self._entries.get(dataset_name)
        if entry is None or self._run is None or entry["kind"] == INPUT:
            return
        run = self._run
        if entry["kind"] == "model":
            folder = _folder(self._catalog, dataset_name)
            self._guarded(lambda: _log_model(run, folder, data))
        else:
            self._guarded(lambda: run.log(dataset_name, entry, data))

    @hook_impl
    def after_dataset_loaded(self, dataset_name: str, data: Any) -> None:
        """Log which table a run was given, where its entry says `kind: input`."""
        entry, run = self._entries.get(dataset_name), self._run
        if run is not None and data is not None and entry is not None and entry["kind"] == INPUT:
            # a file without a header has cells for names of columns
            known = [name for name in data if str(name) in COLUMNS or str(name).startswith(RIVAL)]
            self._guarded(lambda: run.log(dataset_name.split("@")[0], {"kind": "dataset", "columns": known}, data))

    @hook_impl
    def after_pipeline_run(self) -> None:
        """Close the run as finished."""
        self._end("FINISHED")

    @hook_impl
    def on_pipeline_error(self, error: Exception) -> None:
        """Close the run as failed, tagged with the kind of error."""
        self._end("FAILED", type(root_cause(error) or error).__name__)

    def _end(self, status: str, error: str | None = None) -> None:
        run, closing = self._run, self._guarded
        if run is not None:
            closing(lambda: run.end(status, error))
        self._run = None

    def _guarded(self, call: Callable[[], None]) -> None:
        """Run a tracking call; where it fails, warn once, close the run as FAILED if that is quick, track no more."""
        started = time.monotonic()
        try:
            with self._lock:
                call()
        except Exception as error:  # noqa: BLE001 - whatever goes wrong in tracking must not cost the work
            seconds, run, self._run = time.monotonic() - started, self._run, None
            logger.warning(
                "MLflow failed after %.0f s (%s): the rest of this run is not tracked; the work goes on.",
                seconds,
                type(error).__name__,
            )
            if run is not None and seconds < CONNECT_TIMEOUT_S:  # a server that hangs would cost its time-out again
                with contextlib.suppress(Exception):
                    run.end("FAILED")


def reachable(tracking_uri: str) -> bool:
    """Whether a tracking server accepts connections; a local store always does.

    Where MLflow talks to a database itself (postgresql://...), the database is the server.
    """
    address = urlsplit(tracking_uri)
    usual_port = USUAL_PORTS.get(address.scheme.split("+")[0])
    if not address.hostname or usual_port is None:
        return True
    try:
        with socket.create_connection((address.hostname, address.port or usual_port), timeout=CONNECT_TIMEOUT_S):
            return True
    except OSError:
        return False


def _log_model(run: TrackedRun, folder: Path, package: Any) -> None:
    link = run.log_model(folder, package)
    with replacing(folder / LINK_FILE) as draft:
        draft.write_text(json.dumps(link, indent=1))


def _runner_name(runner: Any) -> str:
    """Class of the runner, which Kedro hands over as a name or as an object's text."""
    found = re.search(r"\w*Runner\b", str(runner or ""))
    return found[0] if found else "SequentialRunner"


def _folder(catalog: CatalogProtocol[Any, Any], name: str) -> Path:
    return Path(catalog[name].folder)


def _exit_on_sigterm(number: int, frame: FrameType | None) -> None:
    # Python's default would end the process without the exit handlers that close the run.
    sys.exit(128 + number)
