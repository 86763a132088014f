"""Raw inputs are looked at before any node runs, so that a missing table does not end a night of conversion."""

import os
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline


class PreflightHook:
    """Loads each raw input that says it is not there, and lets its own message through."""

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
            DatasetError: caused by the input's own error, which says both ways out.
        """
        for name in sorted(pipeline.inputs() & self._required):
            if not catalog.exists(name):
                catalog.load(name)
