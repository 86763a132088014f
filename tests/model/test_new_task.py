"""A new task leaves the others as they are, bit by bit."""

import pytest
import torch
from torch import Tensor

from hyperct_pipeline.errors import ConfigError
from hyperct_pipeline.model.new_task import settled, with_new_task

from .test_methods import model_of


def test_others_stay_bit_identical(tiny_input: tuple[Tensor, Tensor]) -> None:
    model = model_of()
    before = model.logits_all_tasks(*tiny_input)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    model = with_new_task(model, "e")
    assert list(model.trainable_parameters()) == ["new_embeddings"]
    start = model.logits_all_tasks(*tiny_input)[:, 4].clone()
    optimiser = torch.optim.AdamW(model.trainable_parameters().values(), lr=0.3, fused=True)
    for _ in range(3):
        loss = model(*tiny_input, torch.tensor([4, 4, 4])).square().sum()
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    model = settled(model)
    after = model.logits_all_tasks(*tiny_input)
    assert torch.equal(after[:, :4], before) and not torch.equal(after[:, 4], start)
    state = model.state_dict()
    assert state.keys() == weights.keys() and state["task_embeddings"].shape == (5, 8)
    for name, value in weights.items():
        kept = state[name][:4] if name == "task_embeddings" else state[name]
        assert torch.equal(kept, value), name


def test_methods_that_cannot_take_a_new_task() -> None:
    with pytest.raises(ConfigError, match="has the task 'a' already"):
        with_new_task(model_of(), "a")
    with pytest.raises(ConfigError, match="task_lora with head 'per_task' cannot take a new task"):
        with_new_task(model_of(method="task_lora"), "e")
