"""Code of the registered MLflow model: loads the package beside it and scores preprocessed volumes.

MLflow runs this file when the model is loaded (models from code), therefore it ends with `set_model`.
"""

from pathlib import Path

import numpy as np
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext


class HyperCTScorer(PythonModel):
    """Probabilities of all tasks for preprocessed CT volumes."""

    _skip_type_hint_validation = True  # MLflow's switch; it would advise on hints at each save and load

    def load_context(self, context: PythonModelContext) -> None:
        """Load the package (safetensors + JSON)."""
        from hyperct_pipeline.training.checkpoint import load_package

        self.package = load_package(Path(context.artifacts["package"]))

    # Without type hints: MLflow takes them for a signature of its own, which knows no arrays.
    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        """Score volumes.

        Args:
            context: given by MLflow.
            model_input: int16 HU of shape (batch, Z, Y, X), RAS, as `preprocess` makes them.
            params: not used.

        Returns:
            Uncalibrated probabilities of shape (batch, tasks), in the order of the package's tasks.
        """
        from hyperct_pipeline.evaluation.inference import probabilities

        hu = model_input["hu_zyx"] if isinstance(model_input, dict) else model_input
        return probabilities(self.package, np.asarray(hu, dtype=np.int16))


set_model(HyperCTScorer())
