"""The public HyperCT algorithm, written anew from its description, as the baseline of `benchmarks/training.py`.

What it does, and our model does not: one hook on every Linear of the network, the head's included; adapters generated
for every scan of a batch; an update that is added as a tensor of its own, with a norm that the host waits for while
nothing requires a gradient; all tokens through the whole of the last block; weights, activations and optimiser in fp32
(or autocast around it). The mathematics is the same, so are the logits.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from hyperct_pipeline.model.blocks import site_linears
from hyperct_pipeline.model.hyperct import HyperCT
from hyperct_pipeline.volumes.slices import IMAGENET_MEAN, IMAGENET_STD

_LARGEST_ZERO = 1e-8


class SeparateBlock(nn.Module):
    """A DINOv3 block whose six linears are modules of their own, as transformers has them."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.norm1, self.norm2, self.act = block.norm1, block.norm2, block.mlp.act
        self.gamma_1, self.gamma_2 = block.gamma_1, block.gamma_2
        self.n_heads = block.attn.num_heads
        for site, (weight, bias) in site_linears(block).items():
            linear = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device=weight.device)
            linear.weight = nn.Parameter(weight.detach().clone(), requires_grad=False)
            if bias is not None:
                linear.bias = nn.Parameter(bias.detach().clone(), requires_grad=False)
            setattr(self, site, linear)

    def forward(self, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        """(S * N, T, D) to the same."""
        normed = self.norm1(x)
        query, key, value = (
            getattr(self, f"attention_{part}")(normed).view(*x.shape[:2], self.n_heads, -1).transpose(1, 2)
            for part in ("query", "key", "value")
        )
        mixed = scaled_dot_product_attention(rotated(query, cosine, sine), rotated(key, cosine, sine), value)
        x = x + self.gamma_1 * self.attention_output(mixed.transpose(1, 2).flatten(2))
        return x + self.gamma_2 * self.mlp_down(self.act(self.mlp_up(self.norm2(x))))


def rotated(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Positions rotated into the patch tokens, the last ones, by halves of the head."""
    n_prefix = x.shape[-2] - cosine.shape[-2]
    prefix, patches = x[:, :, :n_prefix], x[:, :, n_prefix:]
    first, second = patches.chunk(2, dim=-1)
    turned = patches * cosine + torch.cat([-second, first], dim=-1) * sine
    return torch.cat([prefix, turned.to(x.dtype)], dim=2)


class PublicHyperCT(nn.Module):
    """The public algorithm on the weights of one of our models, whose hypernetwork and head's parameters it shares."""

    def __init__(self, model: HyperCT) -> None:
        super().__init__()
        self.source = model
        self.blocks = nn.ModuleList(SeparateBlock(block) for block in model.backbone.blocks)
        self.current: dict[str, tuple[Tensor, Tensor]] = {}
        for index, block in enumerate(self.blocks):
            for name, linear in block.named_children():
                if isinstance(linear, nn.Linear):
                    linear.register_forward_hook(self._hook(name, index))
        norm, linear = model.head
        # a module of its own around the same parameters: a hook on the model's linear would run inside the model, too
        hooked = nn.Linear(linear.in_features, linear.out_features, device=linear.weight.device)
        hooked.weight, hooked.bias = linear.weight, linear.bias
        hooked.register_forward_hook(self._hook("head", 0))
        self.head = nn.Sequential(norm, hooked)

    def _hook(self, site: str, index: int) -> Any:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            if site not in self.current:
                return output + torch.zeros_like(output, requires_grad=True)
            a, b = (part[:, index] for part in self.current[site])
            x = inputs[0]
            rows = x.reshape(len(a), -1, x.shape[-1])
            change = torch.matmul(torch.matmul(rows, a.transpose(-1, -2)), b.transpose(-1, -2)).view(output.shape)
            result = output + self.source.scale * change
            if change.requires_grad or torch.norm(change) > _LARGEST_ZERO:  # waits for the device without a gradient
                return result
            return output + torch.zeros_like(output)

        return hook

    def generated(self, task_index: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """Adapters of every scan, also where two have the same task."""
        return self.source.hypernetwork(self.source.task_embeddings[task_index])

    def forward(self, images: Tensor, mask: Tensor, adapters: dict[str, tuple[Tensor, Tensor]]) -> Tensor:
        """Logits (B,) from slices (B, 3, N, H, W) in [0, 1], which are viewed as (B * N, 3, H, W)."""
        n_scans, _, n_images, height, width = images.shape
        mean = torch.as_tensor(IMAGENET_MEAN, device=images.device)[:, None, None]
        std = torch.as_tensor(IMAGENET_STD, device=images.device)[:, None, None]
        planes = (images.reshape(n_scans * n_images, 3, height, width) - mean) / std
        backbone = self.source.backbone
        x, rope = backbone._pos_embed(backbone.patch_embed(planes))
        x = backbone.norm_pre(x)
        sine, cosine = rope.chunk(2, dim=-1)
        self.current = adapters
        for block in self.blocks:
            x = block(x, cosine, sine)
        features = backbone.norm(x)[:, 0].view(n_scans, n_images, -1)
        weight = mask.float()
        pooled = (features * weight[..., None]).sum(dim=1) / weight.sum(dim=1, keepdim=True).clamp_min(1.0)
        empty = weight.sum(dim=1) == 0
        if empty.any():
            pooled[empty] = features[empty, 0]
        logits = self.head(pooled).squeeze(1)
        self.current = {}
        return logits
