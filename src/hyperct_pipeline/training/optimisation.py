"""AdamW without waiting for the device, its schedule, and a moving average of the weights."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from hyperct_pipeline.training.settings import FitConfig


class Optimiser:
    """Fused AdamW with warm-up, cosine and clipping.

    A loss or gradient that is not finite leaves weights and moments as they are; the step is remembered on the device
    and asked for later, so that no step waits for the device.

    Args:
        parameters: what is trained, by name.
        n_steps: of the whole training, for the cosine.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], config: FitConfig, n_steps: int) -> None:
        self.parameters, self._config, self._n_steps = dict(parameters), config, n_steps
        self.adamw = torch.optim.AdamW(
            self.parameters.values(), lr=config.lr, betas=config.betas, weight_decay=config.weight_decay, fused=True
        )
        self._device = next(iter(self.parameters.values())).device
        self._first_bad = torch.full((), -1, dtype=torch.int64, device=self._device)
        self._step_number = torch.zeros((), dtype=torch.int64, device=self._device)
        self._limit = math.inf if config.clip_norm is None else config.clip_norm

    def begin_epoch(self) -> None:
        """Count the steps of `first_bad_step` from 0 again."""
        self._first_bad.fill_(-1)
        self._step_number.zero_()

    def set_lr(self, step: int) -> float:
        """The learning rate of a step, counted from the start of training."""
        lr = self._config.lr * schedule(step, self._n_steps, self._config.warmup_steps)
        for group in self.adamw.param_groups:
            group["lr"] = lr
        return lr

    def step(self, loss: Tensor) -> None:
        """Clip and update, unless the loss or the length of the gradient is not finite."""
        length = torch.nn.utils.clip_grad_norm_(self.parameters.values(), self._limit)
        bad = ~(torch.isfinite(loss) & torch.isfinite(length))
        self._first_bad.copy_(torch.where(bad & (self._first_bad < 0), self._step_number, self._first_bad))
        self._step_number += 1
        self.adamw.found_inf = bad.float()  # type: ignore[attr-defined]  # fused AdamW skips the update by itself
        self.adamw.step()
        self.adamw.zero_grad(set_to_none=True)

    def first_bad_step(self) -> int | None:
        """Number of the first step of this epoch that was not finite. Waits for the device."""
        number = int(self._first_bad)
        return None if number < 0 else number

    def moments(self) -> dict[str, Tensor]:
        """A copy on the CPU, by "<parameter>|<moment>"."""
        return {
            f"{name}|{moment}": value.detach().to("cpu", copy=True)
            for name, parameter in self.parameters.items()
            for moment, value in self.adamw.state[parameter].items()
        }

    def restore(self, moments: Mapping[str, Tensor]) -> None:
        """Take over what `moments` gave."""
        for key, value in moments.items():
            name, moment = key.split("|")
            self.adamw.state[self.parameters[name]][moment] = value.to(self._device, copy=True)


class MovingAverage:
    """Exponential moving average of the trained weights; it trusts the first steps less (decay (1 + t) / (10 + t))."""

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float) -> None:
        self._parameters, self._decay, self.steps = dict(parameters), decay, 0
        self.values = {name: value.detach().clone() for name, value in self._parameters.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Move towards the weights as they are now."""
        decay = min(self._decay, (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_(list(self.values.values()), list(self._parameters.values()), 1.0 - decay)
        self.steps += 1

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the weights of the model with their average; a second call puts them back."""
        for name, parameter in self._parameters.items():
            kept = parameter.detach().clone()
            parameter.copy_(self.values[name])
            self.values[name].copy_(kept)

    @torch.no_grad()
    def restore(self, values: Mapping[str, Tensor], steps: int) -> None:
        """Take over an average and the number of updates behind it."""
        self.steps = steps
        for name, value in values.items():
            self.values[name].copy_(value)


def schedule(step: int, n_steps: int, warmup_steps: int) -> float:
    """Share of the highest learning rate: linear from near 0 over the warm-up, then a cosine down to 0."""
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    return 0.5 + 0.5 * math.cos(math.pi * (step - warmup_steps) / max(n_steps - warmup_steps, 1))
