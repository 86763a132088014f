"""Where a model runs."""

import torch

from hyperct_pipeline.errors import ConfigError


def device_of(name: str) -> torch.device:
    """`auto` is CUDA where there is one; CUDA asked for by name is never replaced by the CPU.

    Args:
        name: auto, cpu, cuda or cuda:<n>.

    Raises:
        ConfigError: torch does not see that CUDA device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(
            f"device is {name}, but torch sees {torch.cuda.device_count()} CUDA devices: look at `nvidia-smi` and "
            "CUDA_VISIBLE_DEVICES, install a torch build for CUDA, or ask for auto or cpu"
        )
    return device
