"""Grad-CAM per task: which patches of the scan the logit of a task rests on.

The map is taken at the input of the last block's attention. After that block only the CLS token is read, so
the gradient with respect to the patches of its output is exactly zero and says nothing.

    weight_c = mean over patches of all triplets of d logit / d x_c        (one weight per channel,
    volume-wide) map_p    = ReLU(sum over c of weight_c x_pc)                           (per patch)

Source: Selvaraju et al., Grad-CAM, ICCV 2017, carried over to tokens. A map shows what the model used; it
is not a segmentation, and it is not evidence that the finding is there.

Shape letters: N triplets, h and w patches of a triplet, H and W its pixels.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from hyperct_pipeline.errors import PackageError
from hyperct_pipeline.model.hyperct import HyperCT
from hyperct_pipeline.training.checkpoint import ModelPackage
from hyperct_pipeline.volumes.slices import triplets, unproject
from hyperct_pipeline.volumes.store import StoredVolume
from hyperct_pipeline.volumes.volume import ScalarVolume


@dataclass(frozen=True)
class SaliencyMap:
    """The map of one task over one scan."""

    task: str
    logit: float
    volume: ScalarVolume  # 0 to 1 (the largest of the map), NaN where the model saw nothing
    patches_yx: tuple[int, int]  # rows and columns of patches that were enlarged to the pixels of an image

    @property
    def probability(self) -> float:
        """Probability of the task as the model gave it, not recalibrated."""
        return float(1.0 / (1.0 + np.exp(-self.logit)))


def grad_cam(
    model: HyperCT, x: Float[Tensor, "1 N 3 H W"], mask: Bool[Tensor, "1 N"], task: int
) -> tuple[Float[Tensor, "N h w"], float]:
    """Map per patch, zero for masked triplets, and the logit of the task, for one scan."""
    index = torch.tensor([task], device=x.device)
    with torch.enable_grad():
        tokens, logit = model.last_block_input(x, mask, index)  # (N, tokens, dim), (1,)
        (gradient,) = torch.autograd.grad(logit.sum(), tokens)
    seen = mask[0].to(tokens.dtype)[:, None, None]
    patches = tokens.detach()[:, model.n_prefix_tokens :] * seen
    slopes = gradient[:, model.n_prefix_tokens :] * seen
    weight = slopes.sum(dim=(0, 1)) / (seen.sum() * patches.shape[1])  # (dim,)
    cam = torch.relu(patches @ weight)  # (N, h w)
    height, width = model.grid_hw
    return cam.reshape(len(cam), height, width), float(logit.detach())


def saliency_maps(
    package: ModelPackage, stored: StoredVolume, tasks: Sequence[str], device: torch.device
) -> Iterator[SaliencyMap]:
    """Maps of the tasks named, one after the other, on the preprocessed grid with its affine.

    A voxel that no triplet showed (outside the crop, in a dropped slice) is NaN; a viewer shows it as empty.

    Raises:
        PackageError: the volume was preprocessed otherwise than the model's, or a task is not the model's.
    """
    if stored.preprocess_digest != package.preprocess_digest:
        raise PackageError(
            f"volume preprocessed with settings {stored.preprocess_digest}, model trained with "
            f"{package.preprocess_digest}; run `preprocess` again with the model's settings"
        )
    if strange := sorted(set(tasks) - set(package.tasks)):
        raise PackageError(f"the model has no task {strange}; it has {list(package.tasks)}")
    model = package.model.to(device).eval()
    images, mask = triplets(stored.hu, package.slice_config, None)
    x, seen = torch.from_numpy(images)[None].to(device), torch.from_numpy(mask)[None].to(device)
    for task in tasks:
        cam, logit = grad_cam(model, x, seen, package.tasks.index(task))
        pixels = to_pixels(cam, (images.shape[-2], images.shape[-1]))
        values = unproject(pixels, stored, package.slice_config)
        volume = ScalarVolume(values=_to_unit(values), affine=stored.affine)
        yield SaliencyMap(task, logit, volume, (cam.shape[1], cam.shape[2]))


def to_pixels(cam: Float[Tensor, "N h w"], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Patch maps enlarged linearly to the pixels of the crop, (N, H, W)."""
    enlarged = torch.nn.functional.interpolate(cam[:, None].float(), size=shape, mode="bilinear", align_corners=False)
    result: NDArray[np.float32] = enlarged[:, 0].cpu().numpy()
    return result


def _to_unit(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Divided by the largest value, NaN kept; a map without any positive value stays zero."""
    top = float(np.nanmax(values))
    return values / np.float32(top) if top > 0 else values
