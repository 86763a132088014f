"""HyperCT against the golden tensors, against plain timm, and against itself by another way."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hyperct_pipeline.model.backbone import build_backbone
from hyperct_pipeline.model.hyperct import HyperCT, HyperCTConfig
from hyperct_pipeline.model.image_layout import images_of
from hyperct_pipeline.training.dataset import Normalisation
from hyperct_pipeline.volumes.slices import IMAGENET_MEAN, IMAGENET_STD, SliceConfig, hu_triplets, triplets

from .conftest import TINY_BACKBONE, TINY_MODEL, Golden


def test_golden_logits_of_neighbouring_slices(golden: Golden) -> None:
    logits = golden.model()(golden.triplets(), golden.all_real(), golden["in.tasks"])
    torch.testing.assert_close(logits, golden["out.logits_triplets"], atol=1e-5, rtol=0)


def test_golden_logits_of_the_public_slice_layout(golden: Golden) -> None:
    model = golden.model(slice_layout="reference")
    logits = model(golden.triplets(), golden.all_real(), golden["in.tasks"])
    torch.testing.assert_close(logits, golden["out.logits"], atol=1e-5, rtol=0)


def test_golden_logits_with_a_mask_and_an_all_masked_scan(golden: Golden) -> None:
    logits = golden.model(slice_layout="reference")(golden.triplets(), golden["in.mask"], golden["in.tasks"])
    torch.testing.assert_close(logits, golden["out.logits_masked"], atol=1e-5, rtol=0)


def test_golden_logits_of_all_tasks(golden: Golden) -> None:
    logits = golden.model(slice_layout="reference").logits_all_tasks(golden.triplets(), golden.all_real())
    torch.testing.assert_close(logits, golden["out.logits_all_tasks"], atol=1e-5, rtol=0)


def test_golden_loss_and_gradients(golden: Golden) -> None:
    model = golden.model(slice_layout="reference")
    logits = model(golden.triplets(), golden.all_real(), golden["in.tasks"])
    loss = F.binary_cross_entropy_with_logits(logits, golden["in.labels"])
    loss.backward()
    torch.testing.assert_close(loss.detach(), golden["out.loss"][0], atol=1e-5, rtol=0)
    for name, parameter in model.trainable_parameters().items():
        expected = golden["grad." + name.replace("hypernetwork.", "hyper.")]
        torch.testing.assert_close(parameter.grad, expected, atol=1e-5, rtol=1e-4, msg=lambda m, n=name: f"{n}: {m}")


def test_golden_five_steps(golden: Golden) -> None:
    model = golden.model(slice_layout="reference")
    optimiser = torch.optim.AdamW(
        model.trainable_parameters().values(), lr=1e-3, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.0
    )
    losses = []
    for _ in range(5):
        logits = model(golden.triplets(), golden.all_real(), golden["in.tasks"])
        loss = F.binary_cross_entropy_with_logits(logits, golden["in.labels"])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.detach())
    torch.testing.assert_close(torch.stack(losses), golden["out.losses_5_steps_lr1e-3"], atol=1e-4, rtol=0)


def test_first_update_is_exactly_zero(tiny_input: tuple[Tensor, Tensor]) -> None:
    model = HyperCT(build_backbone(TINY_BACKBONE), ["a", "b"], TINY_MODEL).eval()
    triplets, mask = tiny_input
    real = [triplets[0], triplets[1, :2], triplets[2, :1]]  # an all-masked scan falls back to its first image
    features = torch.stack([model.backbone(images).mean(dim=0) for images in real])
    expected = model.head(features).squeeze(1)
    for task in (0, 1):
        logits = model(triplets, mask, torch.full((3,), task))
        torch.testing.assert_close(logits, expected, atol=2e-6, rtol=0)
    assert all(not b.any() for _, b in model.adapters(torch.arange(2)).values())


def test_masked_triplets_do_not_matter(tiny_model: HyperCT, tiny_input: tuple[Tensor, Tensor]) -> None:
    triplets, mask = tiny_input
    other = torch.where(mask[..., None, None, None], triplets, 7.0)
    other[2, 0] = triplets[2, 0]
    index = torch.tensor([0, 1, 2])
    assert torch.equal(tiny_model(triplets, mask, index), tiny_model(other, mask, index))


def test_all_tasks_at_once_equal_one_at_a_time(tiny_model: HyperCT, tiny_input: tuple[Tensor, Tensor]) -> None:
    triplets, mask = tiny_input
    singly = torch.stack([tiny_model(triplets, mask, torch.full((3,), task)) for task in range(4)], dim=1)
    assert singly.std(dim=1).min() > 1e-3  # tasks differ
    torch.testing.assert_close(tiny_model.logits_all_tasks(triplets, mask), singly, atol=1e-5, rtol=0)
    some = tiny_model.logits_all_tasks(triplets, mask, tasks=[3, 1])
    torch.testing.assert_close(some, singly[:, [3, 1]], atol=1e-5, rtol=0)


def test_pairs_of_scan_and_task_equal_repeated_scans(tiny_model: HyperCT, tiny_input: tuple[Tensor, Tensor]) -> None:
    triplets, mask = tiny_input
    scan, task = torch.tensor([0, 0, 2, 1, 0]), torch.tensor([3, 1, 1, 0, 2])
    expected = tiny_model(triplets[scan], mask[scan], task)
    torch.testing.assert_close(tiny_model(triplets, mask, task, scan), expected, atol=1e-5, rtol=0)


def test_a_scan_does_not_depend_on_its_batch(tiny_model: HyperCT, tiny_input: tuple[Tensor, Tensor]) -> None:
    triplets, mask = tiny_input
    index = torch.tensor([2, 0, 2])
    together = tiny_model(triplets, mask, index)
    alone = torch.cat([tiny_model(triplets[k : k + 1], mask[k : k + 1], index[k : k + 1]) for k in range(3)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


def test_gradients_reach_the_intended_parameters_only(tiny_model: HyperCT, tiny_input: tuple[Tensor, Tensor]) -> None:
    tiny_model(*tiny_input, torch.tensor([0, 1, 0])).sum().backward()
    for name, parameter in tiny_model.named_parameters():
        trained = not name.startswith("backbone.")
        assert parameter.requires_grad == trained
        assert (parameter.grad is not None and bool(parameter.grad.any())) == trained, name
    assert not tiny_model.task_embeddings.grad[2:].any()  # tasks that were not in the batch


def test_last_block_input_gives_the_same_logits_and_a_gradient(
    tiny_model: HyperCT, tiny_input: tuple[Tensor, Tensor]
) -> None:
    index = torch.tensor([1, 2, 3])
    x, logits = tiny_model.last_block_input(*tiny_input, index)
    torch.testing.assert_close(logits, tiny_model(*tiny_input, index), atol=1e-5, rtol=0)
    rows, columns = tiny_model.grid_hw
    assert x.shape == (12, tiny_model.n_prefix_tokens + rows * columns, 32)
    (gradient,) = torch.autograd.grad(logits[1], x)
    per_scan = gradient.unflatten(0, (3, 4)).abs().sum(dim=(2, 3))
    assert (per_scan[1, :2] > 0).all()
    assert not per_scan[1, 2:].any() and not per_scan[0].any()
    assert all(parameter.grad is None for parameter in tiny_model.parameters())


def test_adapters_are_what_the_forward_uses(tiny_model: HyperCT, tiny_input: tuple[Tensor, Tensor]) -> None:
    """Merging s B A into a copy of the timm model and running timm's own forward gives the same logits."""
    adapters = tiny_model.adapters(torch.tensor([2]))
    backbone = build_backbone(TINY_BACKBONE)
    with torch.no_grad():
        for layer, block in enumerate(backbone.blocks):
            delta = {s: tiny_model.scale * b[0, layer] @ a[0, layer] for s, (a, b) in adapters.items()}
            qkv = [delta[f"attention_{part}"] for part in ("query", "key", "value")]
            block.attn.qkv.weight += torch.cat(qkv)
            block.attn.proj.weight += delta["attention_output"]
            block.mlp.fc1.weight += delta["mlp_up"]
            block.mlp.fc2.weight += delta["mlp_down"]
        expected = tiny_model.head(backbone(tiny_input[0][0]).mean(dim=0))
    logits = tiny_model(tiny_input[0][:1], tiny_input[1][:1], torch.tensor([2]))
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=0)


def test_same_seed_same_model_and_global_random_state_untouched() -> None:
    state = torch.get_rng_state()
    first = HyperCT(build_backbone(TINY_BACKBONE), ["a"], TINY_MODEL).state_dict()
    assert torch.equal(state, torch.get_rng_state())
    torch.manual_seed(5)
    second = HyperCT(build_backbone(TINY_BACKBONE), ["a"], TINY_MODEL).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)
    other = HyperCT(build_backbone(TINY_BACKBONE), ["a"], replace(TINY_MODEL, seed=1))
    assert not torch.equal(first["task_embeddings"], other.task_embeddings)


def test_wrong_image_size_names_the_module(tiny_model: HyperCT) -> None:
    with pytest.raises(ValueError, match=r"patch_embed: expected images \(3, 32, 32\)"):
        tiny_model(torch.zeros(1, 2, 3, 48, 48), torch.ones(1, 2, dtype=torch.bool), torch.tensor([0]))


@pytest.mark.parametrize("wrong", [{"rank": 0}, {"latent": 6}, {"dropout": 1.0}])
def test_impossible_sizes_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong)) + r"|model sizes"):
        HyperCTConfig(**wrong)


def test_the_reference_layout_scores_a_scan_alike_by_every_way(golden: Golden) -> None:
    """It mixes slices by the number of triplets, so masked ones must not be cut away."""
    model = golden.model(slice_layout="reference")
    mask = golden.all_real().clone()
    mask[:, -1] = False
    tasks = torch.zeros(len(mask), dtype=torch.long)
    one_by_one = model(golden.triplets(), mask, tasks)
    torch.testing.assert_close(model.logits_all_tasks(golden.triplets(), mask, [0])[:, 0], one_by_one)


def test_padded_scans_in_the_reference_layout() -> None:
    """Padding is 0 in [0, 1], so air in HU, before planes are viewed as images; against a plain loop over planes."""
    slices = SliceConfig(crop_yx=(48, 48), n_triplets=5, layout="reference")
    hu = np.random.default_rng(0).integers(-1000, 1001, (9, 48, 48)).astype(np.int16)  # 3 triplets of 5
    window, mask = hu_triplets(hu, slices, None)
    planes = [hu[3 * image + channel].T if image < 3 else np.full((48, 48), -1000) for channel in range(3)
              for image in range(5)]  # fmt: skip
    unit = (np.stack(planes).reshape(5, 3, 48, 48) + 1000.0) / 2000.0
    expected = torch.from_numpy((unit - IMAGENET_MEAN[:, None, None]) / IMAGENET_STD[:, None, None]).float()
    found = images_of(Normalisation(slices)(torch.from_numpy(window)[None]), "reference")
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    images, seen = triplets(hu, slices, None)
    torch.testing.assert_close(images_of(torch.from_numpy(images)[None], "reference"), expected, atol=1e-5, rtol=0)
    assert mask.tolist() == seen.tolist() == [True] * 3 + [False] * 2
