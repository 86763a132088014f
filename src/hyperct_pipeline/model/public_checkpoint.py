"""Checkpoints of the public HyperCT code, read into our model.

Two files, both written by torch.save:

| file | content |
|---|---|
| merged_hypernet_checkpoint.pth | `hypernet_state_dict`, `head_state_dict` (LayerNorm, Linear), `epoch` |
| task embeddings | `task_names`, `embeddings` (K, task_dim) |

The names inside `hypernet_state_dict` are those of our Hypernetwork. One thing differs: the public code numbers the
module types in the order in which it meets them in transformers' DINOv3, which is key, value, query, output, up, down.

Source of the layout: HyperCT, commit 06a5509.
"""

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hyperct_pipeline.errors import WeightsError
from hyperct_pipeline.model.hyperct import HyperCT
from hyperct_pipeline.model.settings import SITES

PUBLIC_ORDER = (
    "attention_key",
    "attention_value",
    "attention_query",
    "attention_output",
    "mlp_up",
    "mlp_down",
)
"""Module types in the order of the rows of the public `layer_type_encoder.0.weight`."""

_TYPE_TABLE = "layer_type_encoder.0.weight"
_NOT_USED = "metadata_encoder."  # built by the public code and left out of its forward


def load_public_checkpoint(
    model: HyperCT,
    checkpoint: Path,
    embeddings: Path,
    names: Mapping[str, str] | None = None,
    module_types: Sequence[str] = PUBLIC_ORDER,
) -> None:
    """Fill a HyperCT from the two files; the model needs `mode: reference` and the published sizes.

    Args:
        model: method hyperct, all six sites, all blocks.
        checkpoint: merged_hypernet_checkpoint.pth or final_merged_checkpoint.pth.
        embeddings: the learned task embeddings.
        names: our task id -> name in the file, where they differ.
        module_types: order of the type embeddings, for a checkpoint whose configuration named the modules otherwise.

    Raises:
        WeightsError: a file holds more than tensors and plain values, lacks a part, or does not fit the model; or the
            model computes something else from the same weights than the public code does.
    """
    _refuse_other_mathematics(model)
    stored, table = _read(checkpoint), _read(embeddings)
    state = dict(model.state_dict())
    state |= {f"hypernetwork.{key}": value for key, value in _hypernetwork(stored, checkpoint, module_types).items()}
    state |= {f"head.{key}": value for key, value in _part(stored, "head_state_dict", checkpoint).items()}
    state["task_embeddings"] = _rows(table, embeddings, model.tasks, names or {})
    expected = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    found = {key: tuple(value.shape) for key, value in state.items()}
    if expected != found:
        wrong = sorted(key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key))
        raise WeightsError(
            f"{checkpoint.name} does not fit the model: {len(wrong)} tensors differ, e.g. {wrong[0]}: expected "
            f"{expected.get(wrong[0])}, found {found.get(wrong[0])}"
        )
    model.load_state_dict(state)


def _refuse_other_mathematics(model: HyperCT) -> None:
    """Weights of the same shapes mean something else under other settings."""
    config, design = model.config, model.design
    if design.generator != "full" or design.shuffles_embeddings:
        raise WeightsError(f"public checkpoints are of method hyperct, the model is {config.method}")
    settings = {
        "model.head_norm": (False, design.head_norm),
        "model.slice_layout": ("reference", design.slice_layout),
        "model.scale": (1.0, config.scale),
        "model.adapt_from_block": (0, config.adapt_from_block),
        "model.sites": (SITES, config.ordered_sites),
    }
    if wrong := [f"{key} is {found}, expected {told}" for key, (told, found) in settings.items() if found != told]:
        raise WeightsError(f"public checkpoints need model.mode=reference: {'; '.join(wrong)}")


def _read(file: Path) -> dict[str, Any]:
    """Tensors and plain containers only: whatever would run code is refused."""
    try:
        stored = torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise WeightsError(f"{file.name} cannot be read ({error.strerror})") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        message = f"{file.name} holds more than tensors and plain values or is broken, and is refused"
        raise WeightsError(message) from error
    if not isinstance(stored, dict):
        raise WeightsError(f"{file.name}: expected a mapping, found {type(stored).__name__}")
    return stored


def _part(stored: Mapping[str, Any], name: str, file: Path) -> dict[str, Tensor]:
    part = stored.get(name)
    if not isinstance(part, dict):
        raise WeightsError(f"{file.name}: no `{name}`; found {sorted(stored)}")
    return dict(part)


def _hypernetwork(stored: Mapping[str, Any], file: Path, module_types: Sequence[str]) -> dict[str, Tensor]:
    part = _part(stored, "hypernet_state_dict", file)
    state = {key: value for key, value in part.items() if not key.startswith(_NOT_USED)}
    if sorted(module_types) != sorted(PUBLIC_ORDER) or len(state.get(_TYPE_TABLE, ())) != len(PUBLIC_ORDER):
        raise WeightsError(f"{file.name}: expected type embeddings of {len(PUBLIC_ORDER)} module types")
    state[_TYPE_TABLE] = state[_TYPE_TABLE][[list(module_types).index(site) for site in SITES]]
    return state


def _rows(table: Mapping[str, Any], file: Path, tasks: Sequence[str], names: Mapping[str, str]) -> Tensor:
    """The embeddings of our tasks, in our order."""
    if not isinstance(table.get("embeddings"), Tensor) or not isinstance(table.get("task_names"), list):
        raise WeightsError(f"{file.name}: expected `task_names` and `embeddings`, found {sorted(table)}")
    known = {str(name): row for row, name in enumerate(table["task_names"])}
    wanted = [names.get(task, task) for task in tasks]
    if absent := [name for name in wanted if name not in known]:
        has = f"it has {sorted(known)}. Give `names` to map them"
        raise WeightsError(f"{file.name} has no embedding of {absent}; {has}")
    rows: Tensor = table["embeddings"][[known[name] for name in wanted]]
    return rows
