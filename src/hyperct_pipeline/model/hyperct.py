"""HyperCT: one frozen ViT, one shared classification head, and per-task adapters from a hypernetwork.

    triplets of slices -> adapted ViT -> CLS tokens -> masked mean -> LayerNorm + Linear -> one logit

The rivals run through the same code: adapters from a table, one for all tasks, or none, and heads per task.

Shape letters: B scans, N triplets per scan, H and W pixels, K tasks, M pairs of scan and task, D width, L adapted
blocks, r rank, T tokens.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hyperct_pipeline.model import pair_forward
from hyperct_pipeline.model.adapted_backbone import AdaptedBackbone
from hyperct_pipeline.model.adapter_table import AdapterTable
from hyperct_pipeline.model.blocks import Backbone
from hyperct_pipeline.model.heads import AttentionHead, MeanHead
from hyperct_pipeline.model.hypernetwork import CoreHypernetwork, Hypernetwork
from hyperct_pipeline.model.precision import compute_type
from hyperct_pipeline.model.settings import HyperCTConfig, Precision
from hyperct_pipeline.model.task_scorer import TaskScorer
from hyperct_pipeline.model.task_weights import ResidentWeights

__all__ = ["AllAdapters", "HyperCT", "HyperCTConfig"]

AllAdapters = dict[str, tuple[Tensor, Tensor]]
"""Per adapted site A (K, L, r, n_in) and B (K, L, n_out, r)."""


class HyperCT(AdaptedBackbone):
    """One logit per scan and task.

    Args:
        backbone: frozen timm ViT; its parameters stay without gradient, except under `hard_sharing`.
        tasks: task ids, in the order of the task index.
        config: method, sizes and starting values.
    """

    def __init__(self, backbone: Backbone, tasks: Sequence[str], config: HyperCTConfig) -> None:
        super().__init__(backbone, config)
        self.tasks = tuple(tasks)
        self._resident = ResidentWeights()
        with torch.random.fork_rng(devices=[]):  # layers draw from the global generator when built
            self.hypernetwork = self._new_hypernetwork()
            self.table = self._new_table()
            width, n_logits = backbone.embed_dim, 1 if self.design.head == "shared" else len(self.tasks)
            self.head = (AttentionHead if self.design.head == "attention" else MeanHead)(width, n_logits)
        embeddings = torch.empty(len(self.tasks), config.task_dim)
        self.task_embeddings = nn.Parameter(embeddings) if self.design.has_embeddings else None
        self.new_embeddings: nn.Parameter | None = None  # of tasks that are being added, see `new_task`
        self._initialise()

    def _new_hypernetwork(self) -> Hypernetwork | None:
        if not self.design.has_embeddings:
            return None
        config = self.config
        kind = CoreHypernetwork if self.design.generator == "cores" else Hypernetwork
        return kind(
            self.shapes,
            n_blocks=self.n_adapted_blocks,
            rank=config.rank,
            task_dim=config.task_dim,
            latent=config.latent,
            head_in=self.design.head_in,
            dropout=config.dropout,
            head_norm=self.design.head_norm,
        )

    def _new_table(self) -> AdapterTable | None:
        kind = self.design.generator
        if self.design.has_embeddings or kind == "none":
            return None
        return AdapterTable(kind, self.shapes, self.n_adapted_blocks, self.config.rank, len(self.tasks))

    @torch.no_grad()
    def _initialise(self) -> None:
        generator = torch.Generator().manual_seed(self.config.seed)
        if self.hypernetwork is not None:
            assert self.task_embeddings is not None
            self.hypernetwork.initialise(self.design.init, generator)
            self.task_embeddings.normal_(0.0, self.design.embedding_std, generator=generator)
        if self.table is not None:
            self.table.initialise(generator)
        self.head.initialise(generator)

    def forget_weights(self) -> None:
        """Drop merged weights that are kept for scoring."""
        self._resident.forget()

    def trainable_parameters(self) -> dict[str, nn.Parameter]:
        """Everything that is learned, by name: hypernetwork or table, task embeddings, head."""
        return {name: parameter for name, parameter in self.named_parameters() if parameter.requires_grad}

    def embeddings(self) -> Tensor:
        """Task embeddings (K, task_dim)."""
        assert self.task_embeddings is not None
        if self.new_embeddings is None:
            return self.task_embeddings
        return torch.cat([self.task_embeddings, self.new_embeddings])

    def adapters(self, task_index: Tensor) -> AllAdapters:
        """Task numbers (K,) to A (K, L, r, n_in) and B (K, L, n_out, r) per site; no dropout in eval mode.

        A method without adapters gives updates of rank 1 that are zero, for the whole backbone.
        """
        generated: AllAdapters
        if self.hypernetwork is not None:
            generated = self.hypernetwork(self.embeddings()[task_index])
        elif self.table is not None:
            generated = self.table(task_index)
        else:
            shape = (len(task_index), len(self.blocks))
            zero = torch.zeros((), device=self.device)
            generated = {
                site: (zero.expand(*shape, 1, n_in), zero.expand(*shape, n_out, 1))
                for site, (n_out, n_in) in self.shapes.items()
            }
        return generated

    def forward(
        self,
        triplets: Tensor,
        mask: Tensor,
        task_index: Tensor,
        scan_index: Tensor | None = None,
        distinct: Tensor | None = None,
    ) -> Tensor:
        """Logit of each scan for its own task, or of pairs of scan and task.

        Adapters are generated once per distinct task. What lies before the first adapted block, and the products W x of
        its query, key and value, are computed once per scan.

        Args:
            triplets: float (B, N, 3, H, W), as `volumes.slices.triplets` makes them.
            mask: bool (B, N), False where there is no triplet.
            task_index: int64 (B,), numbers into `tasks`; or (M,) with `scan_index`. On the CPU, whatever the device of
                the model, nothing has to wait for the device.
            scan_index: int64 (M,), numbers of the scans that the tasks are asked of; None: scan k for task k.
            distinct: int64 (U,) on the CPU, rising: tasks to generate adapters for, `task_index` among them. None:
                those of `task_index`. Given, parts of a batch draw the same dropout as the whole.

        Returns:
            Logits (B,) or (M,).

        Raises:
            ValueError: naming the module whose shape does not fit.
        """
        if torch.is_grad_enabled():
            self._resident.forget()
        if not self.design.task_specific:
            return self.logits_of_features(self.features(triplets), mask, task_index, scan_index)
        return pair_forward.pair_logits(self, triplets, mask, task_index, scan_index, distinct)

    @torch.no_grad()
    def logits_all_tasks(
        self, triplets: Tensor, mask: Tensor, tasks: Sequence[int] | None = None, precision: Precision | None = None
    ) -> Tensor:
        """Logits (B, K) of every scan for every task (or the given task numbers), without gradients.

        One task at a time, its adapters merged into the weights: the cost of a plain pass through the backbone. The
        merged weights of all tasks are kept while they fit into half of the free memory and no parameter changes; on a
        CPU only up to 1 GiB of them, because those of a large model cost little to make beside their use.

        Args:
            precision: None: fp16 on CUDA, fp32 on a CPU. fp16 is checked for its range when weights are merged.
        """
        return TaskScorer(self, self._resident).logits(triplets, mask, tasks, precision)

    def last_block_input(self, triplets: Tensor, mask: Tensor, task_index: Tensor) -> tuple[Tensor, Tensor]:
        """Input x (B * N, T, D) of the last block's attention, after its norm, and the logits (B,).

        x is a leaf that requires a gradient, so Grad-CAM is the gradient of a logit with respect to x. The rest of
        the model is left without gradients. Images of a scan lie next to each other in x.
        """
        return pair_forward.last_block_input(self, triplets, mask, task_index)

    def features(self, triplets: Tensor) -> Tensor:
        """CLS tokens (B, N, D) of methods whose tasks share the backbone's output."""
        if self.design.task_specific:
            raise ValueError(f"method {self.config.method}: every task has features of its own")
        tokens, rope = self.before_adapters(triplets)
        return self.common_features(tokens, rope, len(triplets))

    def logits_of_features(
        self, features: Tensor, mask: Tensor, task_index: Tensor, scan_index: Tensor | None = None
    ) -> Tensor:
        """Logits (B,) or (M,) from CLS tokens (B, N, D) that all tasks share; arguments as `forward` has them."""
        scores = self.head.scores(features, mask)
        if scan_index is not None:
            scores = scores[scan_index.to(self.device, non_blocking=True)]
        return pair_forward.of_task(scores, task_index.to(self.device, non_blocking=True))

    def common_features(
        self, tokens: Tensor, rope: Tensor | None, n_scans: int, dtype: torch.dtype | None = None
    ) -> Tensor:
        """CLS tokens (B, N, D) where all tasks share one adapter or none."""
        linears = self.linears(dtype or compute_type(self.precision))
        generated = self.adapters(torch.zeros(1, dtype=torch.long, device=self.device)) if self.table else {}
        for index in range(self.first, len(self.blocks)):
            own = {site: (a[:, index - self.first], b[:, index - self.first]) for site, (a, b) in generated.items()}
            tokens = self.run_adapted(index, tokens, rope, linears[index], own)
        return self.cls_features(tokens, n_scans)
