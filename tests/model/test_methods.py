"""Every method and every saving against the plain forward, and trainable parameters by count."""

import gc
import weakref
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from hyperct_pipeline.errors import ConfigError
from hyperct_pipeline.model import task_weights
from hyperct_pipeline.model.adapter_table import AdapterTable
from hyperct_pipeline.model.backbone import build_backbone
from hyperct_pipeline.model.hyperct import HyperCT, HyperCTConfig
from hyperct_pipeline.model.hypernetwork import CoreHypernetwork, Hypernetwork
from hyperct_pipeline.model.settings import SITES, BackboneConfig
from hyperct_pipeline.model.task_weights import ResidentWeights, _host_free, free_bytes
from hyperct_pipeline.model.update_size import update_sizes

from .conftest import TINY_BACKBONE, TINY_MODEL
from .plain_forward import plain_logits

METHODS = (
    "hyperct", "hyperct_narrow", "hyperct_cores", "hyperct_shuffled", "linear_probe", "attention_probe",
    "hard_sharing", "shared_lora", "task_lora", "mtlora",
)  # fmt: skip
PLAIN_VIT = BackboneConfig(
    name="vit_tiny_patch16_224", img_size=(32, 32), embed_dim=32, depth=3, num_heads=2
)  # positions are added, no RoPE, one fused qkv bias
SCANS, TASKS = (0, 0, 2, 1, 0, 2), (3, 1, 1, 0, 2, 0)


def model_of(backbone: BackboneConfig = TINY_BACKBONE, **changes: object) -> HyperCT:
    """A model none of whose trained parameters is zero or equal between tasks."""
    model = HyperCT(build_backbone(backbone), ["a", "b", "c", "d"], replace(TINY_MODEL, **changes))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.trainable_parameters().items():
            if "heads" in name or name.startswith(("table", "head")) or "shared_" in name:
                parameter.normal_(0.0, 0.2, generator=generator)
        if model.design.trains_backbone:
            model.backbone.blocks[0].attn.q_bias.normal_(generator=generator)
    return model.eval()


def check(model: HyperCT, triplets: Tensor, mask: Tensor) -> None:
    """Logits of pairs, their gradients, and logits of all tasks equal those of the plain forward."""
    scans, tasks = torch.tensor(SCANS), torch.tensor(TASKS)
    slow = plain_logits(model, triplets, mask, SCANS, TASKS)
    expected = torch.autograd.grad(slow.square().sum(), list(model.trainable_parameters().values()), allow_unused=True)
    fast = model(triplets, mask, tasks, scans)
    torch.testing.assert_close(fast, slow, atol=1e-5, rtol=1e-5)
    found = torch.autograd.grad(fast.square().sum(), list(model.trainable_parameters().values()), allow_unused=True)
    for name, mine, theirs in zip(model.trainable_parameters(), found, expected, strict=True):
        zero = torch.zeros(())
        torch.testing.assert_close(
            zero if mine is None else mine,
            (zero if mine is None else torch.zeros_like(mine)) if theirs is None else theirs,
            atol=2e-5, rtol=1e-3, msg=lambda text, name=name: f"{name}: {text}",
        )  # fmt: skip
    every = model.logits_all_tasks(triplets, mask)
    torch.testing.assert_close(every[scans, tasks], fast.detach(), atol=1e-5, rtol=1e-5)
    alone = torch.cat([model(triplets[k : k + 1], mask[k : k + 1], torch.tensor([2])) for k in range(3)])
    torch.testing.assert_close(every[:, 2], alone.detach(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_each_method_equals_the_plain_forward(method: str, tiny_input: tuple[Tensor, Tensor]) -> None:
    check(model_of(method=method), *tiny_input)


def test_tables_with_the_shared_head(tiny_input: tuple[Tensor, Tensor]) -> None:
    check(model_of(generator="table"), *tiny_input)


@pytest.mark.parametrize(
    "changes",
    [{"method": m, "head": "shared"} for m in ("linear_probe", "attention_probe", "hard_sharing", "shared_lora")]
    + [{"generator": "shared"}, {"generator": "none"}],
)
def test_one_logit_for_all_tasks_is_refused(changes: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"gives one logit for all tasks: set model\.head=per_task"):
        replace(TINY_MODEL, **changes)
    if "generator" in changes:
        assert replace(TINY_MODEL, head="per_task", **changes).design.head == "per_task"


@pytest.mark.parametrize("first", [1, 2])
def test_adapters_from_a_later_block(first: int, tiny_input: tuple[Tensor, Tensor]) -> None:
    model = model_of(adapt_from_block=first)
    assert model.adapters(torch.tensor([0]))["mlp_up"][0].shape[1] == 3 - first
    check(model, *tiny_input)


@pytest.mark.parametrize("sites", [("attention_query", "attention_value"), ("mlp_down", "attention_output")])
def test_some_sites_only(sites: tuple[str, ...], tiny_input: tuple[Tensor, Tensor]) -> None:
    model = model_of(sites=sites)
    assert set(model.adapters(torch.tensor([0]))) == set(sites)
    check(model, *tiny_input)


@pytest.mark.parametrize("method", ["hyperct", "hard_sharing", "mtlora"])
def test_plain_vit_of_timm(method: str, tiny_input: tuple[Tensor, Tensor]) -> None:
    model = HyperCT(build_backbone(PLAIN_VIT), ["a", "b", "c", "d"], replace(TINY_MODEL, method=method))
    with torch.no_grad():
        for name, parameter in model.trainable_parameters().items():
            if "heads" in name or name.startswith("table"):
                parameter.normal_(0.0, 0.2, generator=torch.Generator().manual_seed(1))
    check(model.eval(), *tiny_input)


def test_one_block_saves_both_ways_at_once(tiny_input: tuple[Tensor, Tensor]) -> None:
    check(model_of(replace(TINY_BACKBONE, depth=1)), *tiny_input)


def test_checkpointed_blocks_change_nothing(tiny_input: tuple[Tensor, Tensor]) -> None:
    model = model_of()
    model.checkpointing = True
    check(model, *tiny_input)


@pytest.mark.parametrize(
    "backend",
    [pytest.param("aot_eager", marks=pytest.mark.slow), pytest.param("inductor", marks=pytest.mark.nightly)],
)
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # torch.compile's own
def test_compiled_blocks_have_no_graph_break(tiny_input: tuple[Tensor, Tensor], backend: str) -> None:
    model = model_of()
    model.compile_blocks(backend)  # fullgraph: a break is an error
    check(model, *tiny_input)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # torch.compile's own
def test_compiled_blocks_take_any_batch_of_any_model() -> None:
    """torch gives up after 8 graphs of one function: other batches and other models must not add up to that."""
    for seed in (0, 1):
        model, plain = (model_of(replace(TINY_BACKBONE, depth=2), seed=seed) for _ in range(2))
        model.compile_blocks(backend="eager")
        for n_scans, n_triplets in ((8, 6), (8, 5), (1, 6)):
            x = torch.randn(n_scans, n_triplets, 3, 32, 32, generator=torch.Generator().manual_seed(seed))
            batch = x, torch.ones(n_scans, n_triplets, dtype=torch.bool), torch.arange(n_scans) % 4
            torch.testing.assert_close(model(*batch), plain(*batch), atol=1e-5, rtol=1e-5)
            with torch.no_grad():
                torch.testing.assert_close(model(*batch), plain(*batch), atol=1e-5, rtol=1e-5)


def test_adapters_are_generated_once_per_distinct_task(tiny_input: tuple[Tensor, Tensor]) -> None:
    model, seen = model_of(), []
    model.hypernetwork.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    model(*tiny_input, torch.tensor([1, 3, 1, 1]), torch.tensor([0, 0, 1, 2]))
    assert seen == [2]


def test_merged_weights_are_kept_until_a_parameter_changes(tiny_input: tuple[Tensor, Tensor]) -> None:
    model, made = model_of(), []
    model.hypernetwork.register_forward_pre_hook(lambda _, args: made.append(len(args[0])))
    first = model.logits_all_tasks(*tiny_input)
    assert torch.equal(model.logits_all_tasks(*tiny_input), first) and len(made) == 4
    optimiser = torch.optim.AdamW(model.trainable_parameters().values(), lr=0.1, fused=True)
    model(*tiny_input, torch.tensor([0, 1, 2])).sum().backward()
    optimiser.step()
    made.clear()
    changed = model.logits_all_tasks(*tiny_input)
    assert len(made) == 4 and not torch.allclose(changed, first)


@pytest.mark.parametrize(("all_bytes", "kept"), [(2**30, True), (2**30 + 1, False)])
def test_a_cpu_keeps_merged_weights_of_small_models_only(monkeypatch, all_bytes: int, kept: bool) -> None:
    monkeypatch.setattr(task_weights, "free_bytes", lambda device: 2**35)
    resident, made = ResidentWeights(), []
    for _ in range(2):
        resident.get("state", 0, lambda at_once: made.append(at_once), all_bytes, torch.device("cpu"))
    assert made == ([True] if kept else [False, False])  # what is not kept is merged block by block


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("method", ["hyperct", "task_lora"])
def test_weights_that_are_not_kept_give_the_same_logits(monkeypatch, tiny_input, method: str, precision: str) -> None:
    kept = model_of(method=method).logits_all_tasks(*tiny_input, precision=precision)
    monkeypatch.setattr(task_weights, "_RESIDENT_HOST_BYTES", 0)
    model = model_of(method=method)
    for _ in range(2):
        assert torch.equal(model.logits_all_tasks(*tiny_input, precision=precision), kept)


@pytest.mark.parametrize(("all_bytes", "kept"), [(2**34, True), (2**34 + 1, False)])
@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_merged_weights_fill_half_of_the_free_memory_at_most(monkeypatch, device, all_bytes: int, kept: bool) -> None:
    small = 2**6 if device == "cpu" else 1  # a host with little memory
    monkeypatch.setattr(task_weights, "free_bytes", lambda device: 2**35 // small)
    resident, made = ResidentWeights(), []
    for _ in range(2):
        resident.get("state", 0, lambda at_once: made.append(at_once), -(-all_bytes // small), torch.device(device))
    assert len(made) == (1 if kept else 2)


def test_scoring_under_inference_mode_does_not_spoil_training(tiny_input: tuple[Tensor, Tensor]) -> None:
    model = model_of()
    model.precision = "bf16"
    with torch.inference_mode():
        model.logits_all_tasks(*tiny_input, precision="bf16")
    model(*tiny_input, torch.tensor([0, 1, 2])).sum().backward()
    assert all(parameter.grad is not None for parameter in model.trainable_parameters().values())


@pytest.mark.parametrize(("precision", "bound"), [("fp16", 3e-3), ("bf16", 2e-2), ("tf32", 1e-5), ("fp32", 1e-7)])
def test_precisions_come_close_to_fp32(precision: str, bound: float, tiny_input: tuple[Tensor, Tensor]) -> None:
    model = model_of()
    exact = model.logits_all_tasks(*tiny_input)
    found = model.logits_all_tasks(*tiny_input, precision=precision)
    assert found.dtype == torch.float32
    assert (found - exact).abs().max() <= bound


def test_training_precision_keeps_the_residual_stream_in_fp32(tiny_input: tuple[Tensor, Tensor]) -> None:
    model = model_of()
    exact = model(*tiny_input, torch.tensor([0, 1, 2]))
    model.precision = "bf16"
    kinds: dict[str, set[torch.dtype]] = {}

    def note(name: str) -> object:
        return lambda module, args, output: kinds.setdefault(name, set()).update({args[0].dtype, output.dtype})

    for name, module in model.backbone.named_modules():
        if isinstance(module, nn.LayerNorm | nn.Conv2d):
            module.register_forward_hook(note(name))
    logits = model(*tiny_input, torch.tensor([0, 1, 2]))
    assert kinds and all(kind == {torch.float32} for kind in kinds.values())
    assert logits.dtype == torch.float32 and 0 < (logits - exact).abs().max() < 2e-2


def test_weights_beyond_fp16_are_refused(tiny_input: tuple[Tensor, Tensor]) -> None:

    model = model_of()
    with torch.no_grad():
        model.backbone.blocks[1].mlp.fc1.weight[0, 0] = 1e5
    with pytest.raises(ConfigError, match=r"blocks\.1 \(mlp_up\): a merged weight is beyond the range of fp16"):
        model.logits_all_tasks(*tiny_input, precision="fp16")


def test_activations_beyond_fp16_are_refused(tiny_input: tuple[Tensor, Tensor]) -> None:
    model = model_of()
    with torch.no_grad():
        model.backbone.blocks[1].mlp.fc1.bias.fill_(60000.0)  # in range itself; what the next linear makes of it is not
    with pytest.raises(ConfigError, match="task a: activations are beyond the range of fp16"):
        model.logits_all_tasks(*tiny_input, precision="fp16")
    assert model.logits_all_tasks(*tiny_input, precision="bf16").isfinite().all()


@pytest.mark.parametrize("method", ["linear_probe", "attention_probe", "hard_sharing", "shared_lora"])
def test_shared_activations_beyond_fp16_are_refused(method: str, tiny_input: tuple[Tensor, Tensor]) -> None:
    model = model_of(method=method)
    assert model.logits_all_tasks(*tiny_input, precision="fp16").isfinite().all()
    with torch.no_grad():
        model.backbone.blocks[1].mlp.fc1.bias.fill_(60000.0)
    with pytest.raises(ConfigError, match=f"method {method}: activations are beyond the range of fp16"):
        model.logits_all_tasks(*tiny_input, precision="fp16")
    assert model.logits_all_tasks(*tiny_input, precision="bf16").isfinite().all()


def test_a_model_goes_as_soon_as_nothing_refers_to_it(tiny_input: tuple[Tensor, Tensor]) -> None:
    model = model_of()
    model.logits_all_tasks(*tiny_input)
    model(*tiny_input, torch.tensor([0, 1, 2])).sum().backward()
    alive = weakref.ref(model)
    gc.disable()  # device memory must not wait for the collector
    try:
        del model
        assert alive() is None
    finally:
        gc.enable()


def test_free_memory_counts_what_torch_holds_for_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 5000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 700)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 300)
    assert free_bytes(torch.device("cuda")) == 1400


def test_free_memory_of_the_host_within_the_limit_of_a_container(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 9000 kB\nMemFree: 100 kB\nMemAvailable: 4000 kB\n")
    assert _host_free(meminfo, tmp_path) == 4000 * 1024
    for name, text in (("current", "700000\n"), ("stat", "anon 5\ninactive_file 50000\n"), ("max", "max\n")):
        (tmp_path / f"memory.{name}").write_text(text)
    assert _host_free(meminfo, tmp_path) == 4000 * 1024
    (tmp_path / "memory.max").write_text("1000000\n")
    assert _host_free(meminfo, tmp_path) == 350000
    assert free_bytes(torch.device("cpu")) > 0


SHAPES = dict.fromkeys(SITES, (768, 768)) | {"mlp_up": (3072, 768), "mlp_down": (768, 3072)}


def count(module: nn.Module) -> float:
    return sum(parameter.numel() for parameter in module.parameters()) / 1e6


def test_trainable_parameters_at_vit_base() -> None:
    """Rank 16, 25 tasks, 12 blocks; of the narrow one's 29 M, 28 M are weights of its heads."""
    sizes = {"n_blocks": 12, "rank": 16, "task_dim": 512, "latent": 128, "dropout": 0.0, "head_norm": True}
    with torch.device("meta"):
        full = Hypernetwork(SHAPES, head_in=768, **sizes)
        narrow = Hypernetwork(SHAPES, head_in=128, **sizes)
        cores = CoreHypernetwork(SHAPES, head_in=768, **sizes)
        tables = {kind: AdapterTable(kind, SHAPES, 12, 16, 25) for kind in ("table", "shared", "shared_table")}
    assert round(count(full)) == 171
    assert count(narrow) == pytest.approx(29.1, abs=0.05) and count(narrow.heads) == pytest.approx(28.5, abs=0.1)
    assert count(cores) == pytest.approx(4.72, abs=0.01)
    assert {kind: round(count(table), 1) for kind, table in tables.items()} == {
        "table": 66.4, "shared": 2.7, "shared_table": 69.0,
    }  # fmt: skip
    assert count(full) / count(tables["table"]) == pytest.approx(2.6, abs=0.05)


@pytest.mark.parametrize("method", METHODS)
def test_what_is_trained(method: str) -> None:
    model = model_of(method=method)
    groups = {name.split(".")[0] for name in model.trainable_parameters()}
    assert groups == {"head"} | (
        {"hypernetwork", "task_embeddings"} if method.startswith("hyperct")
        else {"backbone"} if method == "hard_sharing"
        else set() if method.endswith("probe") else {"table"}
    )  # fmt: skip


@pytest.mark.parametrize("method", ["hyperct", "hyperct_narrow", "hyperct_cores", "shared_lora", "task_lora", "mtlora"])
def test_first_update_of_every_method_is_exactly_zero(method: str, tiny_input: tuple[Tensor, Tensor]) -> None:
    model = HyperCT(build_backbone(TINY_BACKBONE), ["a", "b"], replace(TINY_MODEL, method=method)).eval()
    assert all(not (b @ a).any() for a, b in model.adapters(torch.arange(2)).values())
    model(*tiny_input, torch.tensor([0, 1, 0])).sum().backward()
    moved = [name for name, p in model.trainable_parameters().items() if p.grad is not None and p.grad.any()]
    assert any(not name.startswith("head") for name in moved)  # it can leave zero


def test_reference_mode_is_a_preset_that_single_keys_overrule() -> None:
    reference = HyperCTConfig(mode="reference").design
    assert (reference.init, reference.embedding_std, reference.head_norm, reference.slice_layout) == (
        "reference", 0.02, False, "reference",
    )  # fmt: skip
    mixed = HyperCTConfig(mode="reference", embedding_std=1.0, slice_layout="triplets").design
    assert (mixed.init, mixed.embedding_std, mixed.slice_layout) == ("reference", 1.0, "triplets")
    assert HyperCTConfig().design.embedding_std == 1.0
    assert replace(HyperCTConfig(), method="hyperct_narrow").design.head_in == 128


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"sites": ("attention_query", "qkv")}, "must name some of"),
        ({"sites": ()}, "must name some of"),
        ({"adapt_from_block": -1}, "must not be negative"),
        ({"embedding_std": 0.0}, "embedding_std"),
        ({"method": "task_lora", "generator": "full"}, "not of task_lora"),
        ({"head": "attention"}, "attention_probe"),
    ],
)
def test_impossible_choices_are_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HyperCTConfig(**wrong)


def test_no_block_left_to_adapt() -> None:
    with pytest.raises(ValueError, match="adapt_from_block is 3, but the backbone has 3 blocks"):
        model_of(adapt_from_block=3)


def test_default_embeddings_make_adapters_differ_between_tasks() -> None:
    """With std 0.02 nine tenths of the generated adapters are common to all tasks; with 1.0 at most two thirds."""
    shares = {}
    for std in (0.02, 1.0):
        model = HyperCT(build_backbone(TINY_BACKBONE), [str(k) for k in range(25)], HyperCTConfig(
            rank=3, task_dim=64, latent=64, head_in=48, init="reference", embedding_std=std)).eval()  # fmt: skip
        shares[std] = update_sizes(model)["between_task_share"]
    assert shares[0.02] < 0.5 * shares[1.0]
