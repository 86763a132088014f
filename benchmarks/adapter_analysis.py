"""Seconds of the whole analysis of adapters at the published size, controls and relabelling test included.

Run `python benchmarks/adapter_analysis.py`. Random factors of 25 tasks, 12 layers, 6 module types and rank 16 (ViT-B)
stand for the trained and for the untrained models, since the cost does not depend on their values; building the models
is not timed. The size of what is never formed is printed beside it.
"""

import time

import torch

from hyperct_pipeline.evaluation.control_models import N_UNTRAINED
from hyperct_pipeline.evaluation.group_separation import separation_table
from hyperct_pipeline.evaluation.lora_pca import pca_table, similarity_table
from hyperct_pipeline.evaluation.update_grams import gram_matrices

WIDTH, HIDDEN, TASKS, LAYERS, RANK = 768, 3072, 25, 12, 16
SITES = dict.fromkeys(("query", "key", "value", "output"), (WIDTH, WIDTH))
SITES |= {"mlp_up": (WIDTH, HIDDEN), "mlp_down": (HIDDEN, WIDTH)}


def factors(seed: int) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Module type -> A (T, L, r, n_in) and B (T, L, n_out, r)."""
    generator = torch.Generator().manual_seed(seed)
    return {
        site: (
            torch.randn(TASKS, LAYERS, RANK, n_in, generator=generator),
            torch.randn(TASKS, LAYERS, n_out, RANK, generator=generator),
        )
        for site, (n_in, n_out) in SITES.items()
    }


def main() -> None:
    models = [factors(seed) for seed in range(1 + N_UNTRAINED)]
    tasks = [f"task_{k:02d}" for k in range(TASKS)]
    groups = {task: "radiological" if k < 18 else "cardiac" for k, task in enumerate(tasks)}
    started, processor = time.perf_counter(), time.process_time()
    trained, *untrained = (gram_matrices(of, 1.0) for of in models)
    grams = time.perf_counter() - started
    for of in (trained, untrained[0]):
        pca_table(of, tasks, groups)
    similarity_table(trained, tasks)
    separation_table(trained, untrained, tasks, groups)
    seconds, processor = time.perf_counter() - started, time.process_time() - processor
    entries = TASKS * LAYERS * sum(n_in * n_out for n_in, n_out in SITES.values())
    times = f"{seconds:.1f} s ({grams:.1f} s of them inner products), {processor:.1f} s of processor time"
    print(f"{times}, {torch.get_num_threads()} threads")
    print(
        f"never formed: {entries * 8 / 1e9:.0f} GB of weight updates in float64, for each of the {len(models)} models"
    )


if __name__ == "__main__":
    main()
