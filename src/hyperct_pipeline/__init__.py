"""From an archive of chest CT to a trained, honestly evaluated multi-task HyperCT model.

Importing the package turns the telemetry of its dependencies off, unless the environment already says otherwise.
"""

import os

__version__ = "0.1.0"

# DO_NOT_TRACK=1 does not stop MLflow: it compares with the text "true".
for _name in ("KEDRO_DISABLE_TELEMETRY", "MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
    os.environ.setdefault(_name, "true")
