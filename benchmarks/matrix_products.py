"""The matrix products of a piece of work, recorded as they run and run again without anything around them.

What is left of the work when all else costs nothing: the floor that its time is compared with. Linears, low-rank
updates and attention count, forward and backward; the patch embedding, which runs as a convolution, does not.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

_PRODUCTS = {"mm", "addmm", "bmm", "baddbmm", "baddbmm_"}
_ATTENTION = "_scaled_dot_product"


class MatrixProducts(TorchDispatchMode):
    """Records which products run, with operands of the same shape, strides and type, one per kind.

    Operands are small random numbers: what they are does not change the time, unless they overflow.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = []
        self._operands: dict[object, Tensor] = {}

    @classmethod
    def of(cls, work: Callable[[], object]) -> "MatrixProducts":
        """Those of one call, after a first one that fills what is kept between calls."""
        work()
        with cls() as recorded:
            work()
        return recorded

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = function(*args, **kwargs)
        name = function._schema.name.split("::")[1]
        if name in _PRODUCTS or name.startswith(_ATTENTION):
            # operands by position: the two of one product are never the same tensor
            used = tuple(tree_map(lambda value, place=place: self._operand(value, place), value)
                         for place, value in enumerate(args))  # fmt: skip
            self.calls.append((function, used, kwargs))
        return result

    def _operand(self, value: Any, place: int) -> Any:
        if not isinstance(value, Tensor) or not value.is_floating_point():
            return value
        kind = (place, value.shape, value.stride(), value.dtype, value.device)
        if kind not in self._operands:
            last = sum((size - 1) * stride for size, stride in zip(value.shape, value.stride(), strict=True))
            numbers = 0.01 * torch.randn(last + 1, device=value.device)
            self._operands[kind] = numbers.to(value.dtype).as_strided(value.shape, value.stride())
        return self._operands[kind]

    def run(self) -> None:
        """All of them, in their order."""
        with torch.no_grad():
            for function, args, kwargs in self.calls:
                function(*args, **kwargs)
