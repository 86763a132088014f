"""The Gram method against PCA of the materialised weight updates."""

import numpy as np
import pandas as pd
import pytest
import torch

from hyperct_pipeline.evaluation import lora_pca as pca
from hyperct_pipeline.evaluation.update_grams import UpdateGram, gram_matrices

TASKS = ["t1", "t2", "t3", "t4", "t5"]
GROUPS = dict.fromkeys(TASKS[:3], "radiological") | dict.fromkeys(TASKS[3:], "cardiac")
SCALE = 0.7


def _adapters(seed: int = 0) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    g = torch.Generator().manual_seed(seed)
    shapes = {"query": (8, 6), "mlp_up": (8, 10)}
    return {
        site: (torch.randn(5, 3, 2, n_in, generator=g), torch.randn(5, 3, n_out, 2, generator=g))
        for site, (n_in, n_out) in shapes.items()
    }


def _flat(adapters: dict[str, tuple[torch.Tensor, torch.Tensor]]) -> np.ndarray:
    """Every update B A, flattened and laid end to end: (T, entries)."""
    return torch.cat([(SCALE * b.double() @ a.double()).flatten(1) for a, b in adapters.values()], dim=1).numpy()


def test_gram_equals_materialised_inner_products() -> None:
    adapters = _adapters()
    grams = gram_matrices(adapters, SCALE)
    flat = _flat(adapters)
    np.testing.assert_allclose(grams["all"].plain, flat @ flat.T, rtol=1e-10)
    np.testing.assert_allclose(grams["all"].norms, np.linalg.norm(flat, axis=1), rtol=1e-10)
    query = _flat({"query": adapters["query"]})
    np.testing.assert_allclose(grams["query"].plain, query @ query.T, rtol=1e-10)
    second = _flat({site: (a[:, 1:2], b[:, 1:2]) for site, (a, b) in adapters.items()})
    np.testing.assert_allclose(grams["layer 1"].plain, second @ second.T, rtol=1e-10)
    assert list(grams) == ["all", "query", "mlp_up", "layer 0", "layer 1", "layer 2"]


def test_components_equal_svd_of_the_materialised_updates() -> None:
    adapters = _adapters()
    found = pca.principal_components(gram_matrices(adapters, SCALE)["all"])
    centred = _flat(adapters) - _flat(adapters).mean(axis=0)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    expected = (u * s)[:, :4]
    expected *= np.sign(expected[np.abs(expected).argmax(axis=0), np.arange(4)])
    np.testing.assert_allclose(found.scores, expected, atol=1e-8)
    np.testing.assert_allclose(found.explained, s[:4] ** 2 / (s**2).sum(), rtol=1e-8)
    assert found.explained.sum() == pytest.approx(1.0)


def test_the_gauge_of_the_factors_does_not_matter() -> None:
    adapters = _adapters()
    r = torch.tensor([[2.0, 1.0], [0.5, 3.0]], dtype=torch.float64)
    turned = {site: (r @ a.double(), b.double() @ torch.linalg.inv(r)) for site, (a, b) in adapters.items()}
    for site, gram in gram_matrices(adapters, SCALE).items():
        np.testing.assert_allclose(gram_matrices(turned, SCALE)[site].plain, gram.plain, rtol=1e-10, atol=1e-10)


def test_cosine_and_distance() -> None:
    flat = _flat(_adapters())
    gram = gram_matrices(_adapters(), SCALE)["all"]
    norms = np.linalg.norm(flat, axis=1)
    np.testing.assert_allclose(gram.cosines(), flat @ flat.T / np.outer(norms, norms), rtol=1e-10)
    direct = np.linalg.norm(flat[:, None] - flat[None], axis=2)
    np.testing.assert_allclose(gram.distances(), direct, rtol=1e-10)


def test_equal_updates_have_no_variance_and_zero_updates_no_angle() -> None:
    a, b = torch.randn(1, 2, 2, 8), torch.randn(1, 2, 6, 2)
    same = gram_matrices({"q": (a.repeat(4, 1, 1, 1), b.repeat(4, 1, 1, 1))}, 1.0)["all"]
    components = pca.principal_components(same)
    assert np.isnan(components.explained).all()
    np.testing.assert_array_equal(components.scores, 0.0)
    np.testing.assert_allclose(same.cosines(), 1.0)
    zero = gram_matrices({"q": (a.repeat(4, 1, 1, 1), torch.zeros(4, 2, 6, 2))}, 1.0)["all"]
    assert np.isnan(pca.principal_components(zero).explained).all()
    assert np.isnan(zero.cosines()).all()


def test_tables() -> None:
    grams = gram_matrices(_adapters(), SCALE)
    table = pca.pca_table(grams, TASKS, GROUPS)
    assert list(dict.fromkeys(table["module"])) == ["all", "query", "mlp_up", "layer 0", "layer 1", "layer 2"]
    rows = table[table["module"] == "all"]
    assert list(rows["number"]) == [1, 2, 3, 4, 5]
    np.testing.assert_allclose(rows["norm"], np.linalg.norm(_flat(_adapters()), axis=1), rtol=1e-10)
    components = pca.principal_components(grams["all"])
    np.testing.assert_allclose(rows[["pc1", "pc2", "pc3", "pc4"]], components.scores)
    np.testing.assert_allclose(rows["explained_pc1"], components.explained[0])
    similarity = pca.similarity_table(grams, TASKS)
    pair = similarity[(similarity["module"] == "query") & (similarity["task_a"] == "t2")]
    np.testing.assert_allclose(pair["cosine"], grams["query"].cosines()[1])
    assert isinstance(similarity, pd.DataFrame)


def test_differences_far_below_the_rounding_of_the_inner_products_survive() -> None:
    # tasks that differ by 1e-9 of an update: their inner products agree to the last digit of float64
    g = torch.Generator().manual_seed(0)
    a0, b0 = (torch.randn(*shape, generator=g, dtype=torch.float64) for shape in ((1, 1, 2, 8), (1, 1, 6, 2)))
    da, db = (torch.randn(4, *shape, generator=g, dtype=torch.float64) for shape in ((1, 2, 8), (1, 6, 2)))
    near, far = (gram_matrices({"q": (a0 + e * da, b0 + e * db)}, 1.0)["all"] for e in (1e-9, 1e-3))
    # to first order dW = dB A0 + B0 dA, whatever the step
    first_order = (db @ a0 + b0 @ da).flatten(1).numpy()
    direct = np.linalg.norm(first_order[:, None] - first_order[None], axis=2)
    np.testing.assert_allclose(near.distances() / 1e-9, direct, rtol=1e-6)
    np.testing.assert_allclose(far.distances() / 1e-3, direct, rtol=0.05)
    np.testing.assert_allclose(
        pca.principal_components(near).explained, pca.principal_components(far).explained, atol=0.01
    )
    naive = np.diag(near.plain)[:, None] + np.diag(near.plain)[None] - 2 * near.plain
    assert not np.allclose(np.sqrt(np.clip(naive, 0, None)) / 1e-9, direct, rtol=0.1)  # what the plain form loses


def test_linkage_puts_similar_tasks_side_by_side() -> None:
    points = np.array([0.0, 10.0, 0.1, 10.1, 0.2])
    order = pca.linkage_order(np.abs(points[:, None] - points[None])).tolist()
    assert {frozenset(order[:3]), frozenset(order[2:])} & {frozenset({0, 2, 4})}
    np.testing.assert_array_equal(pca.linkage_order(np.zeros((4, 4))), range(4))


def test_places_add_up() -> None:
    one = gram_matrices({"q": (torch.ones(2, 1, 1, 3), torch.ones(2, 1, 2, 1))}, 2.0)["all"]
    assert isinstance(one + one, UpdateGram)
    np.testing.assert_allclose((one + one).plain, 2 * one.plain)
    np.testing.assert_allclose(one.plain, 4 * 6.0)
