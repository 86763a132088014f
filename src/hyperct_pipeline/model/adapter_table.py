"""Adapters that are learned directly: one per task, one for all, or both. What a hypernetwork has to beat.

Shape letters: K tasks asked for, L adapted blocks, r rank.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from hyperct_pipeline.model.settings import Generator


class AdapterTable(nn.Module):
    """LoRA matrices as parameters.

    `table`: one pair A, B per task, block and site. `shared`: one for all tasks. `shared_table`: both, side by side
    (rank r each), as in MTLoRA (Agiwal et al., CVPR 2024), which adds task-specific updates to a task-agnostic one.

    Args:
        kind: which of the three.
        shapes: (n_out, n_in) of each adapted site.
        n_blocks: L.
        rank: r of each update.
        n_tasks: rows of the table.
    """

    def __init__(
        self, kind: Generator, shapes: Mapping[str, tuple[int, int]], n_blocks: int, rank: int, n_tasks: int
    ) -> None:
        super().__init__()
        self.shapes, self.n_blocks = dict(shapes), n_blocks
        own, common = {"own": n_tasks}, {"common": 1}
        self._rows = {"table": own, "shared": common, "shared_table": common | own}[kind]
        self.a, self.b = nn.ParameterDict(), nn.ParameterDict()
        for part, n_rows in self._rows.items():
            for site, (n_out, n_in) in self.shapes.items():
                self.a[f"{part}_{site}"] = torch.empty(n_rows, n_blocks, rank, n_in)
                self.b[f"{part}_{site}"] = torch.empty(n_rows, n_blocks, n_out, rank)

    def forward(self, task_index: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """Task numbers (K,) to A (K, L, R, n_in) and B (K, L, n_out, R) per site; R is r, or 2 r for `shared_table`."""

        def chosen(matrices: nn.ParameterDict, site: str, rank_axis: int) -> Tensor:
            picked = [
                matrices[f"common_{site}"].expand(len(task_index), -1, -1, -1)
                if part == "common"
                else matrices[f"own_{site}"].index_select(0, task_index)
                for part in self._rows
            ]
            return picked[0] if len(picked) == 1 else torch.cat(picked, dim=rank_axis)

        return {site: (chosen(self.a, site, 2), chosen(self.b, site, 3)) for site in self.shapes}

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """A of variance 1 / n_in, B zero: the first update is exactly zero, as in LoRA."""
        for part in self._rows:
            for site, (_, n_in) in self.shapes.items():
                self.a[f"{part}_{site}"].normal_(0.0, n_in**-0.5, generator=generator)
                self.b[f"{part}_{site}"].zero_()
