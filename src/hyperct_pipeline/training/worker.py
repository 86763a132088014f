"""One of several training processes: `python -m hyperct_pipeline.training.worker FOLDER`, started by torch elastic."""

import json
import logging
import os
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

from hyperct_pipeline.errors import HyperctError
from hyperct_pipeline.model.backbone import build_backbone
from hyperct_pipeline.model.hyperct import HyperCT
from hyperct_pipeline.training import processes
from hyperct_pipeline.training.checkpoint import load_checkpoint, save_checkpoint
from hyperct_pipeline.training.device import device_of
from hyperct_pipeline.training.job import Job, read_job
from hyperct_pipeline.training.loop import fit

logger = logging.getLogger(__name__)

FAILURE = "failure.json"
RESUME = "resume"


def work(folder: Path) -> None:
    """Train the job in the folder as the process that the environment says; its errors are left there, too."""
    job = read_job(folder)
    device, local = device_of(job.config.device), int(os.environ["LOCAL_RANK"])
    if device.type == "cuda":
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    logging.basicConfig(level=logging.INFO if int(os.environ["RANK"]) == 0 else logging.WARNING, format="%(message)s")
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=timedelta(minutes=30))
    try:
        _train(job, folder, device)
    except HyperctError as error:
        _tell(folder, error)
        raise
    finally:
        dist.destroy_process_group()


def _train(job: Job, folder: Path, device: torch.device) -> None:
    config = replace(job.config, device=str(device), n_processes=1, n_nodes=1, node_rank=0)
    model = HyperCT(build_backbone(job.backbone), job.tasks, job.model)
    resume = load_checkpoint(folder / RESUME) if (folder / RESUME).is_dir() else None
    processes.refuse_different(job.settings, 0 if resume is None else int(resume.state["epoch"]))
    for epoch in fit(model, job.train, job.validation, config, job.settings, resume):
        if processes.rank() == 0:
            save_checkpoint(folder / epoch.name, epoch.checkpoint)


def _tell(folder: Path, error: HyperctError) -> None:
    """Leave the message for the process that launched this one; the first one counts."""
    try:
        with (folder / FAILURE).open("x") as stream:
            json.dump({"kind": type(error).__name__, "message": str(error)}, stream)
    except FileExistsError:
        logger.debug("another process has failed before")


if __name__ == "__main__":
    work(Path(sys.argv[1]))
