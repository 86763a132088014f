"""How the slices of a scan become images of three channels."""

import torch
from torch import Tensor

from hyperct_pipeline.model.settings import SliceLayout
from hyperct_pipeline.volumes.slices import IMAGENET_MEAN, IMAGENET_STD


def images_of(triplets: Tensor, layout: SliceLayout) -> Tensor:
    """All triplets (B, N, 3, H, W) of all scans as one batch of images (B * N, 3, H, W).

    The reference layout repeats what the public code does: its input (B, 3, N, H, W) is viewed as
    (B * N, 3, H, W), so image j holds the channel-major planes 3j to 3j + 2 instead of neighbouring slices,
    and only then are the channels normalised.
    """
    n_scans, n_images, *shape = triplets.shape
    if layout == "triplets":
        return triplets.flatten(0, 1)
    mean = torch.as_tensor(IMAGENET_MEAN, device=triplets.device)[:, None, None]
    std = torch.as_tensor(IMAGENET_STD, device=triplets.device)[:, None, None]
    planes = (triplets * std + mean).transpose(1, 2).reshape(n_scans * n_images, *shape)
    return (planes - mean) / std
