"""The frozen image encoder: a timm DINOv3 ViT (RoPE, registers, layer scale, fused qkv), or another plain timm ViT."""

import logging
from pathlib import Path
from typing import Any

import timm
import torch
from huggingface_hub import hf_hub_download
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from hyperct_pipeline.errors import WeightsError
from hyperct_pipeline.model.blocks import Backbone
from hyperct_pipeline.model.settings import BackboneConfig
from hyperct_pipeline.model.weights import load_backbone_weights

__all__ = ["DINOV3_LICENCE_NOTICE", "BackboneConfig", "build_backbone", "empty_backbone", "patch_grid"]

logger = logging.getLogger(__name__)

_HUB_FILE = "model.safetensors"
_TOKEN_STD = 0.02  # of random CLS and register tokens, as timm has it
_HIGHEST_FREQUENCY = 3  # half waves per patch of random filters

DINOV3_LICENCE_NOTICE = (
    "DINOv3 weights are Meta's and stay under the DINOv3 License "
    "(https://ai.meta.com/resources/models-and-libraries/dinov3-license/), also inside a model that contains them: "
    "read it before you use or pass such a model on. The code around them is Apache-2.0."
)


def build_backbone(config: BackboneConfig) -> Backbone:
    """The ViT in eval mode with every parameter frozen; global random state is left as it was.

    Raises ValueError for a model that is not a ViT of timm, WeightsError when the weights cannot be
    had or do not fit.
    """
    backbone = empty_backbone(config)
    file = find_weights(config)
    if file is None:
        _randomise(backbone, torch.Generator().manual_seed(config.seed))
    else:
        logger.info(DINOV3_LICENCE_NOTICE)
        load_backbone_weights(backbone, file)
    return backbone


def find_weights(config: BackboneConfig) -> Path | None:
    """The local weight file, fetched from the hub first where the config says so; None for random weights.

    Raises WeightsError when there is none to be had.
    """
    if not timm.is_model(config.name):
        raise WeightsError(f"backbone.name: timm {timm.__version__} has no model '{config.name}'")
    if config.weights == "random":
        return None
    file = _hub_file(config.name) if config.weights == "hub" else Path(config.weights).expanduser()
    if not file.is_file():
        raise WeightsError(
            f"no weight file at {file}. Fetch model.safetensors of the timm model (https://huggingface.co/timm) "
            "and set backbone.weights to its path, or set backbone.weights to 'random'"
        )
    return file


def empty_backbone(config: BackboneConfig) -> Backbone:
    """The architecture with weights still to be filled in, frozen, in eval mode."""
    if not timm.is_model(config.name):
        raise ValueError(f"backbone.name: timm {timm.__version__} has no model '{config.name}'")
    sizes: dict[str, Any] = {
        key: value
        for key in ("patch_size", "embed_dim", "depth", "num_heads")
        if (value := getattr(config, key)) is not None
    }
    sizes |= {"num_classes": 0, "global_pool": "token", "img_size": config.img_size, "dynamic_img_size": False}
    with torch.random.fork_rng(devices=[]):  # timm initialises from the global generator
        try:
            backbone = timm.create_model(config.name, pretrained=False, **sizes)
        except TypeError as error:  # a convolutional network knows no patches
            raise ValueError(f"backbone.name: '{config.name}' is not a ViT with a CLS token ({error})") from error
    if not isinstance(backbone, Eva | VisionTransformer) or backbone.cls_token is None:
        raise ValueError(f"backbone.name: '{config.name}' is not a ViT with a CLS token")
    return backbone.eval().requires_grad_(False)


def _hub_file(name: str) -> Path:
    """timm's pretrained weights of this model, from the local hub cache or the network."""
    pretrained = timm.get_pretrained_cfg(name)
    repository = pretrained.hf_hub_id if pretrained is not None else None
    if not repository:
        raise WeightsError(f"timm has no pretrained weights for '{name}'; set backbone.weights to a local file")
    try:
        return Path(hf_hub_download(repository, _HUB_FILE))
    except OSError as error:  # huggingface_hub's errors and those of the network below it are OSErrors
        raise WeightsError(
            f"the weights of '{name}' are not in the local hub cache and the hub cannot be reached. Where there is "
            f"a network, fetch {_HUB_FILE} from https://huggingface.co/{repository}, copy it here and set "
            "backbone.weights=PATH (or backbone.weights=random to do without trained weights)"
        ) from error


def _randomise(backbone: Backbone, generator: torch.Generator) -> None:
    """Random weights whose features are worth adapting.

    timm's initial values are meant to be trained: layer scale 1e-5 and linears of std 0.02 make every block the
    identity, so that the CLS token never sees a patch and an adapter inside a block moves nothing. A network that
    stays frozen needs values that let signal through: variance 1 / fan-in, layer scale 1, smooth patch filters, and
    a CLS token small enough that what it gathers from the patches outweighs what all images share.
    """
    with torch.no_grad():
        for module in backbone.modules():
            if isinstance(module, nn.Linear):
                _truncated_normal(module.weight, module.in_features**-0.5, generator)
        for name, parameter in backbone.named_parameters():
            if name.endswith(("gamma_1", "gamma_2", "ls1.gamma", "ls2.gamma")):
                parameter.fill_(1.0)
            elif name in {"cls_token", "reg_token", "pos_embed"}:
                _truncated_normal(parameter, _TOKEN_STD, generator)
            elif name.endswith("bias") and "norm" not in name:
                parameter.zero_()
        filters = _smooth_filters(backbone.patch_embed.proj.weight.shape, generator)
        backbone.patch_embed.proj.weight.copy_(filters)


def _truncated_normal(parameter: Tensor, std: float, generator: torch.Generator) -> None:
    # cut at 2 std, which leaves 0.88 of it
    nn.init.trunc_normal_(parameter, std=std / 0.88, a=-2 * std / 0.88, b=2 * std / 0.88, generator=generator)


def _smooth_filters(shape: torch.Size, generator: torch.Generator) -> Tensor:
    """Random filters (D, 3, p, p) of length 1 from the lowest cosines of a patch.

    White-noise filters see mostly the brightness of a patch and its noise. The weight rises with frequency because
    the power of images falls with it, so that edges and spots count as much as brightness.
    """
    position = torch.arange(shape[-1], dtype=torch.float32)
    cosines = torch.cos(torch.pi * (position[:, None] + 0.5) * position[None, :] / shape[-1])
    cosines = cosines / cosines.norm(dim=0)  # (pixel, frequency)
    squared = position[:, None].square() + position[None, :].square()
    weight = torch.where(squared <= _HIGHEST_FREQUENCY**2, (1.0 + squared).sqrt(), 0.0)
    weight[0, 0] = 0.5
    filters: Tensor = torch.einsum(
        "yf,xg,dcfg->dcyx", cosines, cosines, torch.randn(shape, generator=generator) * weight
    )
    length = filters.flatten(1).norm(dim=1)
    scaled: Tensor = filters / length[:, None, None, None]
    return scaled


def patch_grid(backbone: Backbone) -> tuple[int, int]:
    """Patches (rows, columns) of one image."""
    rows, columns = backbone.patch_embed.grid_size
    return int(rows), int(columns)
