"""Code of the registered MLflow model: loads the package beside it and scores preprocessed volumes.

MLflow runs this file when the model is loaded (models from code), therefore it ends with `set_model`.
"""

from pathlib import Path
from typing import Any

import numpy as np
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from numpy.typing import NDArray


class HyperCTScorer(PythonModel):
    """Probabilities of all tasks for preprocessed CT volumes."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the package (safetensors + JSON)."""
        from hyperct_pipeline.training.checkpoint import load_package

        self.package = load_package(Path(context.artifacts["package"]))

    def predict(
        self, context: PythonModelContext, model_input: NDArray[np.int16], params: dict[str, Any] | None = None
    ) -> NDArray[np.float64]:
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
        scores: NDArray[np.float64] = probabilities(self.package, np.asarray(hu, dtype=np.int16))
        return scores


set_model(HyperCTScorer())
