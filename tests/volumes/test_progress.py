import logging

from hyperct_pipeline.volumes.progress import Progress


def test_counts_rate_and_failures_reach_the_log(caplog) -> None:
    with caplog.at_level(logging.INFO):
        progress = Progress("convert", 3)
        for usable in (True, False, True):
            progress.count(usable)
    assert len(caplog.records) == 1  # the last one; the others came within the interval
    assert "convert: 3 of 3 studies" in caplog.text and "0:00:00 left, 1 refused or failed" in caplog.text


def test_speaks_at_every_interval(caplog) -> None:
    with caplog.at_level(logging.INFO):
        progress = Progress("convert", 3, every_s=0)
        for _ in range(3):
            progress.count(usable=True)
    assert len(caplog.records) == 3
