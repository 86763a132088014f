"""Saliency maps over the CT they belong to: a montage per map, one overview of all tasks.

Slices are shown as a radiologist sees them: patient's front up, patient's right on the viewer's left.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from hyperct_pipeline.evaluation.examples import Example, ExplainConfig
from hyperct_pipeline.evaluation.saliency import SaliencyMap, saliency_maps
from hyperct_pipeline.training.checkpoint import ModelPackage
from hyperct_pipeline.volumes.store import StoredVolume, VolumeStore
from hyperct_pipeline.volumes.volume import ScalarVolume

CAPTION = (
    "Grad-CAM at the input of the last attention block, scaled to the map's maximum. It shows what the model "
    "used; it is not a segmentation. Research use only."
)
ORIENTATION = "R, L: the patient's right and left; slices count from the feet."


@dataclass(frozen=True)
class Tile:
    """One slice ready to be drawn, in display orientation."""

    hu: NDArray[np.int16] | None  # (Y, X); None where the slice was dropped as empty
    saliency: NDArray[np.float32]  # (Y, X), NaN where the model saw nothing
    aspect: float  # height over width of a pixel
    slice_index: int  # on the preprocessed grid, from the feet
    patches_yx: tuple[int, int]  # of the map, before it was enlarged
    example: Example

    @property
    def is_seen(self) -> bool:
        """Whether the model saw any of this slice."""
        return bool(np.isfinite(self.saliency).any())


def tile(saliency: SaliencyMap, stored: StoredVolume, example: Example, slice_index: int) -> Tile:
    """One slice of the preprocessed grid with its map."""
    at = np.flatnonzero(stored.kept_slices == slice_index)
    _, dy, dx = saliency.volume.spacing_mm
    return Tile(
        hu=np.array(stored.hu[at[0], ::-1, ::-1]) if len(at) else None,
        saliency=saliency.volume.values[slice_index, ::-1, ::-1].copy(),
        aspect=dy / dx,
        slice_index=slice_index,
        patches_yx=saliency.patches_yx,
        example=example,
    )


def peak_slice(saliency: SaliencyMap) -> int:
    """Slice of the preprocessed grid that holds the largest value of the map."""
    flat = int(np.nanargmax(saliency.volume.values))
    return int(np.unravel_index(flat, saliency.volume.values.shape)[0])


def montage_slices(saliency: SaliencyMap, stored: StoredVolume, n_slices: int) -> list[int]:
    """Evenly spaced from the lowest to the highest kept slice, the nearest one moved to the map's peak."""
    kept = stored.kept_slices
    spaced = np.unique(np.linspace(kept[0], kept[-1], n_slices).round().astype(np.int64))
    peak = peak_slice(saliency)
    spaced[np.abs(spaced - peak).argmin()] = peak
    return [int(index) for index in spaced]


def saliency_figure(tiles: Sequence[Tile], name: str, window_hu: tuple[int, int]) -> Figure:
    """Montage of one map with probability, label, colour bar and caption; slices never seen are marked."""
    example = tiles[0].example
    columns = min(4, len(tiles))
    rows = math.ceil(len(tiles) / columns)
    figure = Figure(figsize=(2.7 * columns + 0.6, 2.8 * rows + 1.1), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    image = None
    for axes, part in zip(panels, tiles, strict=False):
        image = _draw(axes, part, window_hu) or image
        axes.set_title(f"slice {part.slice_index}", fontsize=10)
    for axes in panels[len(tiles) :]:
        axes.set_visible(False)
    _finish(figure, panels, image, window_hu, tiles)
    score = f"probability {example.probability:.2f}, label {example.label_text}"
    figure.suptitle(f"{name}: {score}\nstudy {example.study_key}", fontsize=12)
    return figure


def saliency_overview(tiles: Sequence[Tile], names: Mapping[str, str], window_hu: tuple[int, int]) -> Figure:
    """The slice with the highest saliency for each task, one panel per task.

    Args:
        tiles: one per task, in the order of the panels.
        names: task -> display name.
    """
    columns = min(5, max(len(tiles), 1))
    rows = math.ceil(max(len(tiles), 1) / columns)
    figure = Figure(figsize=(2.9 * columns + 0.6, 3.35 * rows + 0.8), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    image = None
    for axes, part in zip(panels, tiles, strict=False):
        image = _draw(axes, part, window_hu) or image
        score = f"p {part.example.probability:.2f}, {part.example.label_text}, slice {part.slice_index}"
        axes.set_title(f"{names[part.example.task]}\n{score}", fontsize=11)
    for axes in panels[len(tiles) :]:
        axes.set_visible(False)
    _finish(figure, panels, image, window_hu, tiles)
    return figure


def _draw(axes: Axes, part: Tile, window_hu: tuple[int, int]) -> AxesImage | None:
    axes.set(xticks=[], yticks=[])
    axes.set_facecolor("black")
    for side, place in (("R", 0.03), ("L", 0.97)):
        axes.text(
            place, 0.5, side, color="white", ha="left" if side == "R" else "right", va="center",
            transform=axes.transAxes, fontsize=9,
        )  # fmt: skip
    low, high = window_hu
    if part.hu is not None:
        axes.imshow(part.hu, cmap="gray", vmin=low, vmax=high, aspect=part.aspect)
    if not part.is_seen:
        axes.text(
            0.5,
            0.05,
            "not seen by the model",
            color="white",
            ha="center",
            transform=axes.transAxes,
            fontsize=9,
        )
        return None
    seen = np.ma.masked_invalid(part.saliency)
    # faint where saliency is low, so that the anatomy stays readable
    opacity = np.clip(np.nan_to_num(part.saliency) * 0.7, 0.0, 0.7)
    return axes.imshow(seen, cmap="inferno", vmin=0, vmax=1, alpha=opacity, aspect=part.aspect)


def _finish(
    figure: Figure,
    panels: NDArray[np.object_],
    image: AxesImage | None,
    window_hu: tuple[int, int],
    tiles: Sequence[Tile],
) -> None:
    if image is not None:
        scale = ScalarMappable(norm=image.norm, cmap=image.cmap)  # the images are partly transparent
        figure.colorbar(scale, ax=list(panels), shrink=0.6, label="saliency (1 is the map's maximum)")
    grids = sorted({f"{rows} \u00d7 {columns}" for rows, columns in (part.patches_yx for part in tiles)})
    resolution = f"Maps of {' or '.join(grids)} patches, interpolated." if grids else ""
    text = f"{CAPTION}\n{resolution} {ORIENTATION} CT window {window_hu[0]} to {window_hu[1]} HU."
    figure.supxlabel(text, fontsize=9, wrap=True)


@dataclass(frozen=True)
class Explained:
    """One example with its map and pictures."""

    volume: ScalarVolume
    figure: Figure
    peak: Tile


def explained(
    package: ModelPackage,
    store: VolumeStore,
    examples: Sequence[Example],
    names: Mapping[str, str],
    device: torch.device,
    config: ExplainConfig,
) -> Iterator[Explained]:
    """Map and montage of each example, one at a time."""
    for example in examples:
        stored = store.get(example.study_key)
        saliency = next(saliency_maps(package, stored, [example.task], device))
        chosen = montage_slices(saliency, stored, config.n_slices)
        tiles = [tile(saliency, stored, example, index) for index in chosen]
        yield Explained(
            volume=saliency.volume,
            figure=saliency_figure(tiles, names[example.task], config.display_window_hu),
            peak=next(part for part in tiles if part.slice_index == peak_slice(saliency)),
        )
