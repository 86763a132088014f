"""A small picture of a study: axial and coronal mid-slice, each in the lung and the mediastinal window.

Made once, in the same pass that measures the volume, and kept as PNG, so that no page needs the volumes again.
"""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hyperct_pipeline.errors import StoreError
from hyperct_pipeline.volumes.volume import Volume, to_ras

# Names and (low, high) HU of the windows radiologists use.
WINDOWS_HU = {"lung": (-1350, 150), "mediastinum": (-160, 240)}
# Widest view in pixels: enough to see what a scan shows, small enough for 500 on a page.
VIEW_PIXELS = 144
# Shades of grey; the eye misses no more at this size, and the file is a fifth smaller than with 256.
N_SHADES = 64


def thumbnail(volume: Volume) -> bytes:
    """PNG of the four views: axial above coronal, lung window on the left; front and head up, patient's right left.

    Pixels are square in millimetres in the coronal views and as the scan has them in the axial ones.
    """
    upright = to_ras(volume)
    depth, height, width = upright.hu.shape
    step = -(-max(height, width) // VIEW_PIXELS)
    axial = _thinned(upright.hu[depth // 2, ::-1], step)
    # slices are repeated or left out so that a millimetre is as high as it is wide
    z_mm, _, x_mm = upright.spacing_mm
    rows = (np.arange(0, depth * z_mm, x_mm * step) / z_mm).astype(int)[::-1]
    coronal = _thinned_columns(upright.hu[np.minimum(rows, depth - 1), height // 2], step)
    both = np.concatenate([axial, coronal])[:, ::-1]
    views = [np.clip((both - low) / (high - low), 0, 1) for low, high in WINDOWS_HU.values()]
    shades = np.rint(np.concatenate(views, axis=1) * (N_SHADES - 1)) * (255 / (N_SHADES - 1))
    content = io.BytesIO()
    Image.fromarray(shades.astype(np.uint8)).save(content, "PNG", optimize=True)
    return content.getvalue()


def pixels(png: bytes) -> NDArray[np.float64]:
    """(rows, columns) in [0, 1].

    Raises:
        StoreError: the picture is damaged.
    """
    try:
        return np.asarray(Image.open(io.BytesIO(png)), dtype=np.float64) / 255
    except (OSError, SyntaxError, ValueError):  # what Pillow has for a PNG that is cut or none at all
        raise StoreError("damaged picture: remove it from quality_thumbnails and run quality again") from None


def _thinned(image: NDArray[np.int16], step: int) -> NDArray[np.float64]:
    """Means over blocks of step x step pixels; what does not fill a block at the far edges is left out."""
    rows = len(image) // step * step
    return np.asarray(_thinned_columns(image[:rows], step).reshape(rows // step, step, -1).mean(axis=1))


def _thinned_columns(image: NDArray[np.int16], step: int) -> NDArray[np.float64]:
    columns = image.shape[1] // step * step
    return np.asarray(image[:, :columns].reshape(len(image), -1, step).mean(axis=2))
