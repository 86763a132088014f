"""Figures as PNG files, on request with an SVG twin for the report, and with a preview in Kedro-Viz."""

import base64
from pathlib import Path
from typing import Any, NewType

import matplotlib
from kedro.io import AbstractDataset, DatasetError
from matplotlib.figure import Figure

from hyperct_pipeline.atomic_file import replacing, replacing_folder

ImagePreview = NewType("ImagePreview", str)


class FigureFile(AbstractDataset[Figure | dict[str, Figure], bytes | dict[str, bytes]]):
    """One figure as a PNG file, or several as a folder of them; loading gives the bytes, of the SVG where there is one.

    Saving several replaces the whole folder, so that no figure of an earlier run stays behind.

    Args:
        filepath: `<name>.png` for one figure, a folder for several.
        dpi: dots per inch.
        accumulate: keep the folder's other figures, for a node that yields its figures one by one; it begins with an
            empty mapping, which empties the folder of an earlier run.
        svg: write an SVG beside each PNG; its text stays text, and equal figures give equal bytes.
    """

    is_required = True  # the input check looks whether it is there

    def __init__(
        self,
        filepath: str,
        dpi: int = 120,
        accumulate: bool = False,
        svg: bool = False,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self._filepath = Path(filepath)
        self._accumulate = accumulate
        self._dpi = dpi
        self._svg = svg
        self.metadata = metadata

    @property
    def _is_single(self) -> bool:
        return self._filepath.suffix == ".png"

    def load(self) -> bytes | dict[str, bytes]:
        """The figure, or one per name."""
        if not self._exists():
            raise DatasetError(f"The figure {self._filepath.stem} does not exist yet: run the pipeline that draws it.")
        if self._is_single:
            return self._read(self._filepath)
        return {file.stem: self._read(file) for file in sorted(self._filepath.glob("[!.]*.png"))}

    def _read(self, png: Path) -> bytes:
        svg = png.with_suffix(".svg")
        return svg.read_bytes() if self._svg and svg.is_file() else png.read_bytes()

    def save(self, data: Figure | dict[str, Figure]) -> None:
        """Draw and write; PNG files carry no metadata but the software's name."""
        if isinstance(data, Figure):
            self._draw(data, self._filepath)
            return
        if self._accumulate and data:
            self._filepath.mkdir(parents=True, exist_ok=True)
            for name, figure in data.items():
                self._draw(figure, self._filepath / f"{name}.png")
            return
        with replacing_folder(self._filepath) as folder:
            for name, figure in data.items():
                self._draw(figure, folder / f"{name}.png")

    def _draw(self, figure: Figure, target: Path) -> None:
        with replacing(target) as temporary:
            figure.savefig(temporary, dpi=self._dpi, metadata={"Software": "hyperct_pipeline"})
        if self._svg:
            with (
                matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": target.stem}),
                replacing(target.with_suffix(".svg")) as temporary,
            ):
                figure.savefig(temporary, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})

    def preview(self) -> ImagePreview:
        """The figure, or the first of several, as base64 text for Kedro-Viz."""
        files = [self._filepath] if self._is_single else sorted(self._filepath.glob("[!.]*.png"))
        first = files[0].read_bytes() if files else b""
        return ImagePreview(base64.b64encode(first).decode())

    def _exists(self) -> bool:
        return self._filepath.is_file() if self._is_single else self._filepath.is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"figure": self._filepath.name}
