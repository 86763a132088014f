"""Scanners and reconstruction: vendors, kernels, noise, and how HU become stored numbers.

Nothing here depends on findings; it depends on the site, on body size (noise) and on chance.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hyperct_pipeline.phantom.shapes import Field

Kernel = Literal["soft", "lung"]
REFERENCE_CHEST_MM = 330.0  # body width at which the stated noise holds


@dataclass(frozen=True)
class Scanner:
    """Vendor habits that a converter has to survive."""

    manufacturer: str
    model: str
    kernel_names: dict[Kernel, str]
    slope: float  # HU = slope * stored + intercept
    intercept: float
    signed: bool
    padding: int | None  # stored value outside the reconstruction circle, None: that region is air
    noise_hu: float  # standard deviation in water, soft kernel, 5 mm, reference body


GE_KERNELS: dict[Kernel, str] = {"soft": "STANDARD", "lung": "LUNG"}
SIEMENS_KERNELS: dict[Kernel, str] = {"soft": "B30f", "lung": "B70f"}
SCANNERS = {
    "revolution": Scanner("GE MEDICAL SYSTEMS", "Revolution CT", GE_KERNELS, 1, -1024, True, -2000, 10),
    "lightspeed": Scanner("GE MEDICAL SYSTEMS", "LightSpeed VCT", GE_KERNELS, 1, 0, True, -2000, 14),
    "force": Scanner("SIEMENS", "SOMATOM Force", SIEMENS_KERNELS, 1, -8192, False, None, 9),
    "flash": Scanner("SIEMENS", "SOMATOM Definition Flash", SIEMENS_KERNELS, 1, -1024, False, None, 11),
    "open": Scanner("SIEMENS", "SOMATOM Sensation Open", SIEMENS_KERNELS, 0.5, -1024, False, None, 13),
}
# Share of each scanner per site; both sites own machines of both vendors.
PARK = {
    "A": {"revolution": 0.5, "lightspeed": 0.3, "flash": 0.2},
    "B": {"force": 0.45, "flash": 0.25, "open": 0.1, "revolution": 0.2},
}


def draw_scanner(site: str, generator: np.random.Generator) -> Scanner:
    """The machine a study was made on."""
    names, shares = zip(*PARK[site].items(), strict=True)
    return SCANNERS[names[int(generator.choice(len(names), p=shares))]]


def reconstruct(
    hu: Field,
    scanner: Scanner,
    kernel: Kernel,
    thickness_mm: float,
    body_width_mm: float,
    generator: np.random.Generator,
) -> Field:
    """Noisy HU (Z, Y, X) float32 of one series: signal and white noise pass the same kernel.

    Noise falls with the root of the slice thickness and rises with the body; the sharp kernel amplifies both
    noise and edges near the Nyquist frequency, the soft one damps them.
    """
    sigma = scanner.noise_hu * np.sqrt(5.0 / thickness_mm) * np.exp((body_width_mm - REFERENCE_CHEST_MM) / 260)
    noisy = generator.standard_normal(hu.shape, np.float32)
    noisy *= np.float32(1.45 * sigma)
    noisy += hu
    rows, columns = hu.shape[1:]
    nyquist = 2 * np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(columns)[None, :])  # 1 at Nyquist
    transfer = np.exp(-0.75 * nyquist**2) if kernel == "soft" else 1 + 0.8 * nyquist * np.exp(-((nyquist / 1.3) ** 4))
    spectrum = np.fft.rfft2(noisy)
    spectrum *= transfer.astype(np.float32)
    return np.fft.irfft2(spectrum, s=(rows, columns)).astype(np.float32, copy=False)


def store(hu: Field, scanner: Scanner) -> NDArray[np.int16] | NDArray[np.uint16]:
    """Stored values of a series, 12 bits of HU (-1024 to 3071), padded outside the circle where the vendor does."""
    stored = np.rint((np.clip(hu, -1024, 3071) - scanner.intercept) / scanner.slope)
    if scanner.padding is not None:
        rows, columns = hu.shape[1:]
        y, x = np.ogrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j]
        stored[:, np.hypot(x, y) > 1] = scanner.padding
    return np.asarray(stored, np.int16) if scanner.signed else np.asarray(stored, np.uint16)
