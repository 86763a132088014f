"""Safe file names that tell all names apart."""

import itertools

from hyperct_pipeline.evaluation.file_names import file_names


def test_every_name_has_a_file_of_its_own_whatever_the_order() -> None:
    names = ["resnet", "resnet 2", "resnet_2", "res/net", "../resnet", "$"]
    for order in itertools.permutations(names):
        files = file_names(order)
        assert list(files) == list(order)
        assert len(set(files.values())) == len(names)
        assert all(file.replace("_", "").replace("-", "").isalnum() for file in files.values())
