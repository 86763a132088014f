"""The hypernetwork: task embedding, block depth and site type in, LoRA matrices A and B out.

    [encoded task (latent/2) | block depth (latent/4) | site type (latent/4)]
      -> mixer MLP -> two residual MLPs -> MLP to head_in -> one linear head per site type -> A and B

Architecture and parameter names of the public reference implementation, so that its weights load as they are.
Source: HyperCT (arXiv 2604.03224), commit 06a5509; it follows Text-to-LoRA.

`CoreHypernetwork` emits r x r cores between matrices that all tasks share, a thirtieth of the parameters.

Shape letters: K tasks, L adapted blocks, r rank.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm

from hyperct_pipeline.model.settings import Init

_PUBLISHED_STD = 0.01  # of the heads' weights and of the bias of A
_WIDENING = 4  # hidden width of each MLP over the latent width


class ResidualMLP(nn.Module):
    """x + MLP(LayerNorm(x)), with an activation after the last linear too, as in the reference."""

    def __init__(self, latent: int, dropout: float) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.LayerNorm(latent), *_widening_mlp(latent, latent, dropout))

    def forward(self, x: Tensor) -> Tensor:
        """(..., latent) to the same shape."""
        change: Tensor = self.mlp(x)
        return x + change


class TaskEncoder(nn.Module):
    """Linear and LayerNorm, no activation."""

    def __init__(self, task_dim: int, width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(task_dim, width), nn.LayerNorm(width))

    def forward(self, x: Tensor) -> Tensor:
        """(K, task_dim) to (K, width)."""
        encoded: Tensor = self.mlp(x)
        return encoded


class Hypernetwork(nn.Module):
    """Generates the adapters of every block and site for any number of tasks.

    Args:
        shapes: (n_out, n_in) of each adapted site.
        n_blocks: L.
        head_norm: normalise the heads' input to length 1 (LayerNorm without parameters, then 1/sqrt(head_in)).
            Without it an Adam step of size lr moves an adapter entry by lr times the sum of head_in inputs.
    """

    def __init__(
        self,
        shapes: Mapping[str, tuple[int, int]],
        n_blocks: int,
        rank: int,
        task_dim: int,
        latent: int,
        head_in: int,
        dropout: float,
        head_norm: bool,
    ) -> None:
        super().__init__()
        self.shapes, self.n_blocks, self.rank = dict(shapes), n_blocks, rank
        self.head_in, self.head_norm = head_in, head_norm
        part = latent // 4
        self.task_encoder = TaskEncoder(task_dim, latent - 2 * part)
        self.layer_depth_encoder = nn.Sequential(nn.Embedding(n_blocks, part), nn.LayerNorm(part))
        self.layer_type_encoder = nn.Sequential(nn.Embedding(len(self.shapes), part), nn.LayerNorm(part))
        self.mixer = nn.Sequential(nn.Dropout(dropout), *_widening_mlp(latent, latent, dropout))
        self.mlp1 = ResidualMLP(latent, dropout)
        self.mlp2 = ResidualMLP(latent, dropout)
        self.mlp3 = nn.Sequential(nn.LayerNorm(latent), *_widening_mlp(latent, head_in, dropout)[:-1])
        self.heads = nn.ModuleDict({site: nn.Linear(head_in, self._outputs(site)) for site in self.shapes})

    def forward(self, task_embedding: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """Task embeddings (K, task_dim) to A (K, L, r, n_in) and B (K, L, n_out, r) per site."""
        n_tasks, n_sites = len(task_embedding), len(self.shapes)
        task = self.task_encoder(task_embedding)[:, None, None].expand(-1, self.n_blocks, n_sites, -1)
        depth_index = torch.arange(self.n_blocks, device=task.device)
        depth = self.layer_depth_encoder(depth_index)[None, :, None].expand(n_tasks, -1, n_sites, -1)
        kind_index = torch.arange(n_sites, device=task.device)
        kind = self.layer_type_encoder(kind_index)[None, None].expand(n_tasks, self.n_blocks, -1, -1)
        latent = self.mixer(torch.cat([task, depth, kind], dim=-1))  # (K, L, site, latent)
        hidden = self.mlp3(self.mlp2(self.mlp1(latent)))  # (K, L, site, head_in)
        if self.head_norm:
            hidden = layer_norm(hidden, (self.head_in,)) / math.sqrt(self.head_in)
        return {site: self._matrices(site, hidden[:, :, number]) for number, site in enumerate(self.shapes)}

    def _outputs(self, site: str) -> int:
        """Entries that the head of a site emits for one task and block."""
        return self.rank * sum(self.shapes[site])

    def _matrices(self, site: str, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """A and B of a site from the heads' input (K, L, head_in)."""
        n_out, n_in = self.shapes[site]
        a, b = self.heads[site](hidden).split([self.rank * n_in, n_out * self.rank], dim=-1)
        return a.unflatten(-1, (self.rank, n_in)), b.unflatten(-1, (n_out, self.rank))

    @torch.no_grad()
    def initialise(self, init: Init, generator: torch.Generator) -> None:
        """Fill every parameter from the generator.

        `reference` is as published: heads of std 0.01 whose bias is zero for B only, so the first update is not zero.
        `default`: the rows of the heads that make B are zero, so the first update is exactly zero, and the rows that
        make A give entries of variance 1 / n_in (with head_norm). All else has torch's own initial values in both.
        """
        for module in self.modules():
            _reset(module, generator)
        for site in self.shapes:
            if init == "default":
                self._start_at_zero(site, generator)
            else:
                self._start_as_published(site, generator)

    def _start_at_zero(self, site: str, generator: torch.Generator) -> None:
        head, n_in = self._head(site), self.shapes[site][1]
        head.weight.normal_(0.0, n_in**-0.5, generator=generator)
        head.bias.zero_()
        head.weight[self.rank * n_in :] = 0.0

    def _start_as_published(self, site: str, generator: torch.Generator) -> None:
        head, entries_of_a = self._head(site), self.rank * self.shapes[site][1]
        head.weight.normal_(0.0, _PUBLISHED_STD, generator=generator)
        head.bias.zero_()
        head.bias[:entries_of_a].normal_(0.0, _PUBLISHED_STD, generator=generator)

    def _head(self, site: str) -> nn.Linear:
        head = self.heads[site]
        assert isinstance(head, nn.Linear)
        return head


class CoreHypernetwork(Hypernetwork):
    """Emits cores C (r, r) between A and B that are learned per block and site and shared by all tasks: B C A.

    The adapters it returns are A and B C. By default A has entries of variance 1 / n_in, B of 1 / r, and the cores
    start at zero. Source of the shape: LoRA-XS (arXiv 2405.17604), which trains cores alone.
    """

    def __init__(
        self, shapes: Mapping[str, tuple[int, int]], n_blocks: int, rank: int, task_dim: int, latent: int,
        head_in: int, dropout: float, head_norm: bool,
    ) -> None:  # fmt: skip
        super().__init__(shapes, n_blocks, rank, task_dim, latent, head_in, dropout, head_norm)
        self.shared_a = nn.ParameterDict(
            {site: torch.empty(n_blocks, rank, n_in) for site, (_, n_in) in self.shapes.items()}
        )
        self.shared_b = nn.ParameterDict(
            {site: torch.empty(n_blocks, n_out, rank) for site, (n_out, _) in self.shapes.items()}
        )

    def _outputs(self, site: str) -> int:
        return self.rank**2

    def _matrices(self, site: str, hidden: Tensor) -> tuple[Tensor, Tensor]:
        core = self.heads[site](hidden).unflatten(-1, (self.rank, self.rank))  # (K, L, r, r)
        a = self.shared_a[site][None].expand(len(core), -1, -1, -1)
        return a, self.shared_b[site] @ core

    @torch.no_grad()
    def initialise(self, init: Init, generator: torch.Generator) -> None:
        """As the full hypernetwork: by default the cores start at zero, with `reference` they do not."""
        super().initialise(init, generator)
        for site, (_, n_in) in self.shapes.items():
            self.shared_a[site].normal_(0.0, n_in**-0.5, generator=generator)
            self.shared_b[site].normal_(0.0, self.rank**-0.5, generator=generator)

    def _start_at_zero(self, site: str, generator: torch.Generator) -> None:
        self._head(site).weight.zero_()
        self._head(site).bias.zero_()

    def _start_as_published(self, site: str, generator: torch.Generator) -> None:
        self._head(site).weight.normal_(0.0, _PUBLISHED_STD, generator=generator)
        self._head(site).bias.zero_()


def _widening_mlp(n_in: int, n_out: int, dropout: float) -> list[nn.Module]:
    hidden = _WIDENING * n_in
    return [
        nn.Linear(n_in, hidden),
        nn.SiLU(),
        nn.Dropout(dropout),
        nn.Linear(hidden, n_out),
        nn.SiLU(),
        nn.Dropout(dropout),
    ]


def _reset(module: nn.Module, generator: torch.Generator) -> None:
    """torch's default initialisation of a layer, but from an explicit generator."""
    if isinstance(module, nn.Linear):
        bound = module.in_features**-0.5
        module.weight.uniform_(-bound, bound, generator=generator)
        module.bias.uniform_(-bound, bound, generator=generator)
    elif isinstance(module, nn.Embedding):
        module.weight.normal_(generator=generator)
