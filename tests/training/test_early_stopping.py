"""Validations since the best one."""

from hyperct_pipeline.training.early_stopping import EarlyStopping


def test_the_highest_auroc_is_the_best() -> None:
    stopping = EarlyStopping(2)
    turns = []
    for value in (0.6, 0.7, 0.7, 0.65):  # an equal one is not better
        assert not stopping.is_over
        stopping.see({"validation_auroc": value, "validation_loss": 0.1 / value})
        turns.append(stopping.turns)
    assert turns == [0, 0, 1, 2] and stopping.best == 0.7 and stopping.is_over


def test_the_lowest_loss_is_the_best_where_nothing_can_be_judged() -> None:
    stopping = EarlyStopping(None)
    for loss in (0.9, 0.5, 0.6):
        stopping.see({"validation_loss": loss})
    assert (stopping.best, stopping.turns, stopping.is_over) == (-0.5, 1, False)
    stopping.see({})  # nothing known at all
    assert stopping.turns == 2
