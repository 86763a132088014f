import numpy as np
import pytest

from hyperct_pipeline.phantom.scanner import PARK, SCANNERS, draw_scanner, reconstruct, store


@pytest.mark.parametrize("name", SCANNERS)
def test_stored_values_give_back_the_hu(name: str) -> None:
    scanner = SCANNERS[name]
    hu = np.random.default_rng(0).uniform(-1024, 3000, (3, 32, 32)).astype(np.float32)
    stored = store(hu, scanner)
    back = stored.astype(float) * scanner.slope + scanner.intercept
    y, x = np.mgrid[-1:1:32j, -1:1:32j]
    circle = np.hypot(x, y) <= 1
    assert np.abs(back - hu)[:, circle].max() <= 0.5 * scanner.slope + 1e-3
    if scanner.padding is not None:
        assert set(np.unique(stored[:, ~circle])) == {scanner.padding}
    assert stored.dtype == (np.int16 if scanner.signed else np.uint16)


def noise(kernel: str, thickness_mm: float, body_mm: float = 330.0) -> float:
    water = np.zeros((20, 64, 64), np.float32)
    out = reconstruct(water, SCANNERS["revolution"], kernel, thickness_mm, body_mm, np.random.default_rng(1))  # type: ignore[arg-type]
    assert out.dtype == np.float32
    assert abs(out.mean()) < 0.5
    return float(out.std())


def test_noise_follows_dose_thickness_kernel_and_body() -> None:
    soft = noise("soft", 5.0)
    assert soft == pytest.approx(SCANNERS["revolution"].noise_hu, rel=0.1)
    assert noise("soft", 2.5) / soft == pytest.approx(np.sqrt(2), rel=0.05)
    assert noise("lung", 5.0) > 1.8 * soft
    assert noise("soft", 5.0, 400.0) > 1.2 * soft


def test_kernels_keep_the_mean_and_change_edges() -> None:
    scanner = SCANNERS["revolution"]
    block = np.full((1, 64, 64), -800, np.float32)
    block[:, 20:40, 20:40] = 40
    outs = {
        k: np.mean([reconstruct(block, scanner, k, 1e6, 330, np.random.default_rng(s)) for s in range(2)], axis=0)
        for k in ("soft", "lung")
    }
    for out in outs.values():
        assert out.mean() == pytest.approx(block.mean(), abs=0.5)
    assert np.abs(np.diff(outs["lung"][0, 30])).max() > np.abs(np.diff(outs["soft"][0, 30])).max()


def test_both_sites_own_both_vendors() -> None:
    for site, park in PARK.items():
        assert {SCANNERS[name].manufacturer for name in park} == {"GE MEDICAL SYSTEMS", "SIEMENS"}
        assert sum(park.values()) == pytest.approx(1)
        drawn = {draw_scanner(site, np.random.default_rng(k)).model for k in range(60)}
        assert drawn == {SCANNERS[name].model for name in park}
