import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from kedro.io import DataCatalog, MemoryDataset

from hyperct_pipeline.errors import ConfigError
from hyperct_pipeline.hooks import OneWriterHook
from hyperct_pipeline.hooks.one_writer import locked

ALONE = DataCatalog({})


def hook_of(data_root: Path) -> OneWriterHook:
    hook = OneWriterHook()
    loader = {"globals": {"data_root": "data"}}
    loader = type("Loader", (dict,), {"runtime_params": {"data_root": str(data_root)}})(loader)
    hook.after_context_created(SimpleNamespace(config_loader=loader, project_path=data_root.parent))
    return hook


def test_a_second_run_is_refused_until_the_first_ends(tmp_path: Path) -> None:
    first, second = hook_of(tmp_path / "root"), hook_of(tmp_path / "root")
    first.before_pipeline_run(ALONE)
    with pytest.raises(ConfigError, match="Another run is writing to this data_root") as caught:
        second.before_pipeline_run(ALONE)
    assert str(tmp_path) not in str(caught.value)
    hook_of(tmp_path / "elsewhere").before_pipeline_run(ALONE)
    first.on_pipeline_error()
    second.before_pipeline_run(ALONE)
    second.after_pipeline_run()


def test_further_nodes_of_a_training_need_no_lock(tmp_path: Path) -> None:
    def node(rank: int) -> DataCatalog:
        return DataCatalog({"params:fit": MemoryDataset({"n_nodes": 2, "node_rank": rank})})

    first, second = hook_of(tmp_path), hook_of(tmp_path)
    first.before_pipeline_run(node(0))
    second.before_pipeline_run(node(1))
    second.after_pipeline_run()
    with pytest.raises(ConfigError, match="Another run is writing"):
        hook_of(tmp_path).before_pipeline_run(node(0))
    first.after_pipeline_run()


def test_a_killed_run_leaves_no_lock(tmp_path: Path) -> None:
    code = "import os, sys; from pathlib import Path; from hyperct_pipeline.hooks.one_writer import locked; "
    code += "lock = locked(Path(sys.argv[1])); os.kill(os.getpid(), 9)"
    assert subprocess.run([sys.executable, "-c", code, tmp_path], check=False).returncode == -9
    lock = locked(tmp_path)
    assert lock is not None and lock.is_locked
    lock.release()


def test_a_data_root_that_is_no_folder_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="data_root cannot be written"):
        locked(tmp_path / "file")
