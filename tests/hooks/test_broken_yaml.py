"""A parameter file that cannot be read is named with its line."""

from pathlib import Path

import pytest
from kedro.config import OmegaConfigLoader

from hyperct_pipeline.errors import ConfigError
from hyperct_pipeline.hooks.broken_yaml import read_parameters


def read(folder: Path, **files: str) -> object:
    base, local = folder / "conf" / "base", folder / "conf" / "local"
    base.mkdir(parents=True)
    local.mkdir()
    for name, text in files.items():
        (base / f"parameters_{name}.yml").write_text(text)
    loader = OmegaConfigLoader(str(folder / "conf"), base_env="base", default_run_env="local")
    return read_parameters(loader, (local, base))


def test_sound_files_are_read(tmp_path: Path) -> None:
    assert read(tmp_path, fit="fit: {lr: 1}\n", quality="quality: {least: 2}\n") == {
        "fit": {"lr": 1}, "quality": {"least": 2},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"fit": "fit:\n  lr: 1\n  lr: 2\n"}, ["conf/base/parameters_fit.yml, line 3: found duplicate key lr"]),
        ({"fit": "fit:\n  lr: [1\nx: }\n"}, ["conf/base/parameters_fit.yml, line 3: "]),
        ({"fit": "fit: \tx: 1\n", "quality": "a: 1\na: 2\n"}, ["parameters_fit.yml, line 1", "key a"]),
        ({"fit": "fit: {lr: 1}\n", "quality": "fit: {lr: 2}\n"}, ["conf/base/parameters_fit.yml", "fit"]),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, files: dict[str, str], expected: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, **files)
    assert all(part in str(caught.value) for part in expected), str(caught.value)
    assert str(tmp_path) not in str(caught.value)
