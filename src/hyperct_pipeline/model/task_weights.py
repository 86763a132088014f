"""Weights made once and kept: the backbone's in another type, and those of each task with its update merged in.

Shape letters: L adapted blocks, r rank.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import linear as linear_map

from hyperct_pipeline.errors import ConfigError
from hyperct_pipeline.model.blocks import Linear, TransformerBlock, site_linears
from hyperct_pipeline.model.lora import Adapters, FrozenLinears, SharedProducts, cast, check_adapters, merged

SHARED_SITES = ("attention_query", "attention_key", "attention_value")
"""Sites whose input is the same for all tasks of a scan in the first adapted block."""


_RESIDENT_SHARE = 0.5  # of the free memory that merged weights of all tasks may fill
_RESIDENT_HOST_BYTES = 2**30  # likewise on a CPU, where weights that are larger cost little to make beside their use


class BackboneLinears:
    """The linears of each block in a type; those of a frozen backbone are converted once."""

    def __init__(self, backbone: nn.Module, blocks: Sequence[TransformerBlock], frozen: bool) -> None:
        self._backbone, self._blocks, self._frozen = backbone, blocks, frozen
        self._kept: tuple[object, list[dict[str, Linear]]] = (None, [])

    def of(self, dtype: torch.dtype) -> list[dict[str, Linear]]:
        """Linears by site, block after block."""
        if dtype == torch.float32 or not self._frozen:
            return self._converted(dtype)
        key = (dtype, next(self._backbone.parameters()).device, version_of(self._backbone))
        if self._kept[0] != key:
            with torch.inference_mode(False), torch.no_grad():  # training may use them after scoring made them
                self._kept = (key, self._converted(dtype))
        return self._kept[1]

    def _converted(self, dtype: torch.dtype) -> list[dict[str, Linear]]:
        return [{site: cast(part, dtype) for site, part in site_linears(block).items()} for block in self._blocks]


class TaskWeights:
    """The adapted blocks of one task.

    Args:
        blocks: the fp32 linears of each adapted block.
        generated: per site A (L, r, n_in) and B (L, n_out, r).
        scale: s in W + s B A.
        dtype: of the merged weights.
        first_index: number of the first adapted block in the backbone, for messages.
        at_once: merge all blocks now; else each one whenever it is used, so that one block is in memory at a time.

    Raises:
        ValueError: naming the module whose A or B does not fit.
        ConfigError: a merged weight is beyond the range of the type.
    """

    def __init__(
        self,
        blocks: Sequence[Mapping[str, Linear]],
        generated: Mapping[str, tuple[Tensor, Tensor]],
        scale: float,
        dtype: torch.dtype,
        first_index: int,
        at_once: bool = True,
    ) -> None:
        self._scale, self._dtype, self._first_index, self._blocks = scale, dtype, first_index, blocks
        self._adapters: list[dict[str, tuple[Tensor, Tensor]]] = []
        for number, linears in enumerate(blocks):
            adapters = {site: (a[number], b[number]) for site, (a, b) in generated.items()}
            shapes = {site: (linear.weight.shape[0], linear.weight.shape[1]) for site, linear in linears.items()}
            check_adapters(adapters, shapes, first_index + number)
            self._adapters.append(adapters)
        shared = {site: self._adapters[0].pop(site) for site in SHARED_SITES if site in self._adapters[0]}
        self._first_adapters: Adapters = {
            site: (a[None].to(dtype), b[None].to(dtype)) for site, (a, b) in shared.items()
        }
        self._first_rest = self._merged(0)
        self._later = [self._merged(number) for number in range(1, len(blocks))] if at_once else None

    def later(self) -> Iterable[FrozenLinears]:
        """Linears of the blocks after the first adapted one."""
        return self._later if self._later is not None else map(self._merged, range(1, len(self._blocks)))

    def _merged(self, number: int) -> FrozenLinears:
        whole = merged(self._blocks[number], self._adapters[number], self._scale, self._dtype)
        if self._dtype == torch.float16:
            _check_range(whole, self._first_index + number)
        return whole

    def first(self, products: Mapping[str, Tensor]) -> SharedProducts:
        """Linears of the first adapted block, given W x of query, key and value."""
        return SharedProducts(self._first_rest, products, self._first_adapters, self._scale)


class ResidentWeights:
    """Merged weights of the tasks, kept while nothing changes and there is room for all of them."""

    def __init__(self) -> None:
        self._key: object = None
        self._kept: dict[int, TaskWeights] = {}
        self._keeps = False
        self.fits_fp16: object = None  # state of the model whose features of all tasks came through in fp16

    def forget(self) -> None:
        """Training is about to change the parameters, in ways that their version counters do not always show."""
        self._key, self._kept, self.fits_fp16 = None, {}, None

    def get(
        self, key: object, task: int, make: Callable[[bool], TaskWeights], all_bytes: int, device: torch.device
    ) -> TaskWeights:
        """The weights of a task.

        Args:
            key: names the state of the model that they belong to.
            task: number of the task.
            make: makes them, all blocks at once or not.
            all_bytes: of the weights of all tasks.
            device: that they lie on.
        """
        if self._key != key:
            self._kept = {}
            self._key, self._keeps = key, all_bytes <= _resident_limit(device)
        if task in self._kept:
            return self._kept[task]
        weights = make(self._keeps or device.type == "cuda")
        if self._keeps:
            self._kept[task] = weights
        return weights


def _resident_limit(device: torch.device) -> float:
    """Bytes that merged weights of all tasks may fill.

    A CPU keeps those of small models only: merging one task of ViT-B is 5 % of passing a single scan through, and 25
    tasks would fill 8.5 GB.
    """
    limit = _RESIDENT_SHARE * free_bytes(device)
    return min(limit, _RESIDENT_HOST_BYTES) if device.type == "cpu" else limit


def shared_products(linears: Mapping[str, Linear], normed: Tensor, cls_only: bool) -> dict[str, Tensor]:
    """W x + bias of query, key and value of a block for its normalised input (S * N, T, D)."""
    inputs = {site: normed[:, :1] if cls_only and site == "attention_query" else normed for site in SHARED_SITES}
    return {site: linear_map(x, *linears[site]) for site, x in inputs.items()}


def version_of(module: nn.Module) -> tuple[int, int]:
    """Changes when a parameter is written to in place, or replaced; not by a step of torch's fused optimisers."""
    parameters = list(module.parameters())
    return sum(parameter._version for parameter in parameters), hash(tuple(p.data_ptr() for p in parameters))


def free_bytes(device: torch.device) -> int:
    """Memory that is free now, on the device or, for the CPU, on the host.

    What torch has reserved on the device and holds for later is free, too.
    """
    if device.type == "cuda":
        held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + held
    return _host_free(Path("/proc/meminfo"), Path("/sys/fs/cgroup"))


def _host_free(meminfo: Path, cgroup: Path) -> int:
    """What Linux can give without swapping, page cache among it, bounded by what the container's limit leaves."""
    available = next(line for line in meminfo.read_text().splitlines() if line.startswith("MemAvailable:"))
    free = int(available.split()[1]) * 1024
    limit, used = cgroup / "memory.max", cgroup / "memory.current"
    if not (limit.is_file() and used.is_file()) or (told := limit.read_text().strip()) == "max":
        return free
    statistics = dict(line.split() for line in (cgroup / "memory.stat").read_text().splitlines())
    cached = int(statistics.get("inactive_file", 0))  # counted as used, given back when asked for
    return min(free, max(int(told) - int(used.read_text()) + cached, 0))


def task_bytes(blocks: Sequence[Mapping[str, Linear]], dtype: torch.dtype) -> int:
    """Bytes of the merged weights of one task."""
    entries = sum(linear.weight.numel() for linears in blocks for linear in linears.values())
    return entries * dtype.itemsize


def _check_range(whole: FrozenLinears, index: int) -> None:
    for site, linear in whole.linears.items():
        if not bool(linear.weight.isfinite().all()):
            raise ConfigError(
                f"blocks.{index} ({site}): a merged weight is beyond the range of fp16; "
                "score with precision bf16 or fp32"
            )
