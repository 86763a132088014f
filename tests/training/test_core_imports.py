"""The training core runs where only torch, timm, numpy, scikit-learn, scipy and safetensors are installed."""

import subprocess
import sys
from pathlib import Path

CODE = """
import sys

ABSENT = {"kedro", "pandas", "pydantic", "monai", "mlflow", "jaxtyping", "SimpleITK", "pydicom", "matplotlib"}
ABSENT |= {"imagecodecs"}  # compact volumes alone need it

class Hiding:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        return None if name.split(".")[0] in ABSENT else self.finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path[:] = [Hiding(finder) for finder in sys.meta_path]
import hyperct_pipeline.training.history, hyperct_pipeline.training.loop
import hyperct_pipeline.training.launch, hyperct_pipeline.training.worker, hyperct_pipeline.model.public_checkpoint
import hyperct_pipeline.model.new_task, hyperct_pipeline.model.task_adapter
assert not ABSENT & set(sys.modules)
print(hyperct_pipeline.training.loop.fit.__name__)
"""


def test_core_imports_without_the_rest() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "fit"


def test_the_training_benchmark_needs_less_still() -> None:
    """torch, timm, numpy and safetensors, because GPU machines often have nothing more."""
    benchmarks = Path(__file__).parents[2] / "benchmarks"
    absent = CODE.replace('{"imagecodecs"}', '{"imagecodecs", "sklearn", "scipy"}').split("import hyperct_pipeline")[0]
    code = f"{absent}\nsys.path.insert(0, {str(benchmarks)!r})\nimport training\nprint(training.Bench.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "Bench"


def test_settings_are_read_without_torch() -> None:
    """`kedro` imports every nodes module at each start."""
    code = "import sys; import hyperct_pipeline.pipeline_registry; assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
