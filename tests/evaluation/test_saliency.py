"""Grad-CAM of planted evidence, in the model and in space."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from hyperct_pipeline.errors import PackageError
from hyperct_pipeline.evaluation.saliency import grad_cam, saliency_maps, to_pixels
from hyperct_pipeline.model.backbone import BackboneConfig, build_backbone
from hyperct_pipeline.model.hyperct import HyperCT, HyperCTConfig
from hyperct_pipeline.volumes.slices import triplets
from hyperct_pipeline.volumes.store import StoredVolume

CPU = torch.device("cpu")


def test_evidence_of_one_patch_peaks_in_that_patch(package: SimpleNamespace, stored: StoredVolume) -> None:
    images, mask = triplets(stored.hu, package.slice_config, None)
    x, seen = torch.from_numpy(images)[None], torch.from_numpy(mask)[None]
    cam, logit = grad_cam(package.model, x, seen, 0)
    # slices 3-5 of hu are triplet 1; the second patch row from the back is the third from the top
    assert np.unravel_index(int(cam.argmax()), cam.shape) == (1, 2, 2)
    assert int((cam > 1e-6).sum()) == 1
    assert logit == pytest.approx(0.7 / 4, abs=1e-6)
    assert (grad_cam(package.model, x, seen, 1)[0][4] == 0).all()  # a masked triplet carries no map


def test_map_lies_where_the_cube_lies_in_the_scan(package: SimpleNamespace, stored: StoredVolume) -> None:
    found = next(saliency_maps(package, stored, ["bright"], CPU))
    assert found.volume.values.shape == stored.grid_shape_zyx
    assert np.nanmax(found.volume.values) == 1.0
    assert set(np.argwhere(found.volume.values == 1.0)[:, 0]) == {6, 7, 8}
    # centre of mass of the map, in millimetres, against that of the cube (rows 10-17, columns 18-25 of the grid)
    weights = np.nan_to_num(found.volume.values)
    centre = [float((weights * axis).sum() / weights.sum()) for axis in np.indices(weights.shape)]
    mm = found.volume.affine @ [centre[2], centre[1], centre[0], 1.0]
    expected = stored.affine @ [21.5, 13.5, 7.0, 1.0]
    assert np.linalg.norm(mm - expected) < 1.0
    assert found.probability == pytest.approx(1 / (1 + np.exp(-found.logit)))


def test_what_the_model_never_saw_is_nan(package: SimpleNamespace, stored: StoredVolume) -> None:
    values = next(saliency_maps(package, stored, ["dark"], CPU)).volume.values
    assert np.isnan(values[:3]).all()  # dropped slices
    assert np.isnan(values[:, :2]).all() and np.isnan(values[:, :, -2:]).all()  # outside the crop
    assert np.isfinite(values[3:, 2:-2, 2:-2]).all()


def test_a_map_without_evidence_is_zero_not_scaled_noise(package: SimpleNamespace, stored: StoredVolume) -> None:
    values = next(saliency_maps(package, stored, ["dark"], CPU)).volume.values
    package.model.tasks = ("dark", "bright")
    white = replace(stored, hu=np.full_like(stored.hu, 1000))
    nothing_dark = next(saliency_maps(package, white, ["dark"], CPU)).volume.values
    assert np.nanmax(values) == 1.0
    np.testing.assert_allclose(nothing_dark[3:, 2:-2, 2:-2], 0.0, atol=1e-6)


def test_foreign_volumes_and_tasks_are_refused(package: SimpleNamespace, stored: StoredVolume) -> None:
    with pytest.raises(PackageError, match="no task \\['nodule'\\]"):
        next(saliency_maps(package, stored, ["nodule"], CPU))
    package.preprocess_digest = "d2"
    with pytest.raises(PackageError, match=r"d1.*d2"):
        next(saliency_maps(package, stored, ["bright"], CPU))


def test_enlarging_keeps_the_peak_in_its_patch() -> None:
    cam = torch.zeros(1, 4, 4)
    cam[0, 1, 2] = 1.0
    pixels = to_pixels(cam, (32, 32))
    row, column = np.unravel_index(int(pixels[0].argmax()), (32, 32))
    assert 8 <= row < 16 and 16 <= column < 24


def test_real_model_against_the_formula() -> None:
    backbone = BackboneConfig(
        name="vit_small_patch16_dinov3_qkvb", img_size=(32, 32), embed_dim=32, depth=3, num_heads=2
    )
    config = HyperCTConfig(rank=3, task_dim=8, latent=16, head_in=12, dropout=0.0, init="reference")
    model = HyperCT(build_backbone(backbone), ["a", "b"], config).eval()
    x = torch.randn(1, 3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[True, True, False]])
    reference = model.logits_all_tasks(x, mask)[0]
    for task in (0, 1):
        cam, logit = grad_cam(model, x, mask, task)
        assert logit == pytest.approx(float(reference[task]), abs=1e-5)
        tokens, score = model.last_block_input(x, mask, torch.tensor([task]))
        score.backward()
        assert tokens.grad is not None
        patches, slopes = (t.detach()[:2, model.n_prefix_tokens :].numpy() for t in (tokens, tokens.grad))
        weight = slopes.reshape(-1, 32).mean(axis=0)
        expected = np.maximum(np.einsum("npc,c->np", patches, weight), 0.0).reshape(2, 2, 2)
        np.testing.assert_allclose(cam[:2].numpy(), expected, atol=1e-6)
        assert (cam[2] == 0).all()
