"""Project settings that Kedro reads at start."""

import logging
import warnings

from kedro.config import OmegaConfigLoader

from hyperct_pipeline.hooks import (
    CommandNamesHook,
    ConfigurationHook,
    FailureMessageHook,
    OneWriterHook,
    PreflightHook,
    TrackingHook,
    TrainingNodeHook,
)

# Kedro 1.7 calls what omegaconf has renamed, at every start.
warnings.filterwarnings("ignore", "register_new_resolver", UserWarning)
# Kedro 1.7 prefers --pipelines; both spellings work in the version that is pinned.
warnings.filterwarnings("ignore", "Option '--pipeline' is deprecated", DeprecationWarning)

# At DEBUG Kedro writes down every argument of every hook: paths of the archive, the secret, raw tables.
for _name in ("kedro.framework.hooks.manager", "kedro.framework.cli.hooks.manager"):
    logging.getLogger(_name).setLevel(logging.INFO)

# Hooks of one kind are called from the last to the first.
HOOKS = (
    CommandNamesHook(),
    FailureMessageHook(),
    ConfigurationHook(),
    PreflightHook(),
    TrainingNodeHook(),
    TrackingHook(),
    OneWriterHook(),
)

# The tracking hook replaces what Kedro's plugins would do; kedro-telemetry comes with kedro and stays silent.
DISABLE_HOOKS_FOR_PLUGINS = ("kedro-telemetry",)

CONFIG_LOADER_CLASS = OmegaConfigLoader
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    # overriding one key of a parameter group in another environment keeps its other keys
    "merge_strategy": {"parameters": "soft"},
}
