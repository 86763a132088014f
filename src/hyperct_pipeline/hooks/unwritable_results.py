"""A full disk, a folder that is a file, a missing permission: met while results are written, told in one sentence."""

import errno
from pathlib import Path

from kedro.framework.context import KedroContext

from hyperct_pipeline.errors import StoreError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}  # come from writing only
_BARRED = {errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.EEXIST}  # come from reading inputs, too


def data_root_of(context: KedroContext) -> Path:
    """The folder that a run writes to: `--params=data_root=PATH`, or what globals.yml says."""
    loader = context.config_loader
    given = (loader.runtime_params or {}).get("data_root") or loader["globals"]["data_root"]
    return Path(context.project_path) / str(given)


def unwritable_results(error: BaseException | None, data_root: Path) -> StoreError | None:
    """What to say of an error that was raised because results cannot be written, or None.

    Args:
        error: looked at with what it was raised from.
        data_root: of the run; other folders are inputs, of which their readers speak.
    """
    while error is not None:
        if isinstance(error, OSError) and (error.errno in _FULL or (error.errno in _BARRED and _in(error, data_root))):
            return StoreError(
                f"Results cannot be written under data_root ({error.strerror}). Make room or see to the permissions "
                "there, or name another folder with --params=data_root=PATH. Finished work is kept; run again."
            )
        error = error.__cause__
    return None


def _in(error: OSError, data_root: Path) -> bool:
    return error.filename is not None and Path(str(error.filename)).absolute().is_relative_to(data_root.absolute())
