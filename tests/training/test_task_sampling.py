"""Which tasks are drawn."""

import numpy as np
import torch

from hyperct_pipeline.training.task_sampling import draw_tasks

LABELS = np.array([[1, -1, 0, 1], [-1, -1, -1, -1], [-1, 0, -1, -1]], dtype=np.int8)


def generators(seed: int, n: int = 3) -> list[np.random.Generator]:
    return [np.random.default_rng((seed, scan)) for scan in range(n)]


def test_unknown_is_never_drawn_and_an_unknown_scan_gives_nothing() -> None:
    for seed in range(200):
        scan, task = draw_tasks(LABELS, 2, generators(seed))
        assert (LABELS[scan, task] != -1).all()
        assert torch.bincount(scan, minlength=3).tolist() == [2, 0, 1]
        assert len(set(task[scan == 0].tolist())) == 2  # without repetition


def test_known_tasks_are_drawn_equally_often() -> None:
    drawn = torch.cat([draw_tasks(LABELS[:1], 1, generators(seed, 1))[1] for seed in range(3000)])
    share = torch.bincount(drawn, minlength=4) / 3000
    torch.testing.assert_close(share, torch.tensor([1 / 3, 0.0, 1 / 3, 1 / 3]), atol=0.03, rtol=0)


def test_a_draw_does_not_depend_on_the_other_scans() -> None:
    scan, task = draw_tasks(LABELS, 2, generators(7))
    alone, single = draw_tasks(LABELS[:1], 2, generators(7)[:1])
    assert torch.equal(task[scan == 0], single) and not alone.any()


def test_all_unknown_batch() -> None:
    scan, task = draw_tasks(LABELS[1:2], 3, generators(0, 1))
    assert scan.numel() == task.numel() == 0 and scan.dtype == torch.int64
