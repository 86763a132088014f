"""The Gram method against PCA of the materialised weight updates."""

import numpy as np
import pandas as pd
import pytest
import torch

from hyperct_pipeline.evaluation import lora_pca as pca

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
    grams = pca.gram_matrices(adapters, SCALE)
    flat = _flat(adapters)
    np.testing.assert_allclose(grams["all"], flat @ flat.T, rtol=1e-10)
    query = _flat({"query": adapters["query"]})
    np.testing.assert_allclose(grams["query"], query @ query.T, rtol=1e-10)


def test_components_equal_svd_of_the_materialised_updates() -> None:
    adapters = _adapters()
    found = pca.principal_components(pca.gram_matrices(adapters, SCALE)["all"])
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
    for site, gram in pca.gram_matrices(adapters, SCALE).items():
        np.testing.assert_allclose(pca.gram_matrices(turned, SCALE)[site], gram, rtol=1e-10, atol=1e-10)


def test_cosine_and_distance() -> None:
    flat = _flat(_adapters())
    gram = pca.gram_matrices(_adapters(), SCALE)["all"]
    norms = np.linalg.norm(flat, axis=1)
    np.testing.assert_allclose(pca.cosines(gram), flat @ flat.T / np.outer(norms, norms), rtol=1e-10)
    direct = np.linalg.norm(flat[:, None] - flat[None], axis=2)
    np.testing.assert_allclose(pca.distances(gram), direct, atol=1e-6)


def test_equal_updates_have_no_variance_and_zero_updates_no_angle() -> None:
    a, b = torch.randn(1, 2, 2, 8), torch.randn(1, 2, 6, 2)
    same = pca.gram_matrices({"q": (a.repeat(4, 1, 1, 1), b.repeat(4, 1, 1, 1))}, 1.0)["all"]
    components = pca.principal_components(same)
    assert np.isnan(components.explained).all()
    np.testing.assert_array_equal(components.scores, 0.0)
    np.testing.assert_allclose(pca.cosines(same), 1.0)
    zero = pca.gram_matrices({"q": (a.repeat(4, 1, 1, 1), torch.zeros(4, 2, 6, 2))}, 1.0)["all"]
    assert np.isnan(pca.principal_components(zero).explained).all()
    assert np.isnan(pca.cosines(zero)).all()


def test_tables() -> None:
    grams = pca.gram_matrices(_adapters(), SCALE)
    table = pca.pca_table(grams, TASKS, GROUPS)
    assert list(dict.fromkeys(table["module"])) == ["all", "query", "mlp_up"]
    rows = table[table["module"] == "all"]
    assert list(rows["number"]) == [1, 2, 3, 4, 5]
    np.testing.assert_allclose(rows["norm"], np.linalg.norm(_flat(_adapters()), axis=1), rtol=1e-10)
    components = pca.principal_components(grams["all"])
    np.testing.assert_allclose(rows[["pc1", "pc2", "pc3", "pc4"]], components.scores)
    np.testing.assert_allclose(rows["explained_pc1"], components.explained[0])
    similarity = pca.similarity_table(grams, TASKS)
    pair = similarity[(similarity["module"] == "query") & (similarity["task_a"] == "t2")]
    np.testing.assert_allclose(pair["cosine"], pca.cosines(grams["query"])[1])
    assert isinstance(similarity, pd.DataFrame)
