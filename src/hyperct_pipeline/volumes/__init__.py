"""CT volumes: the axis convention, quality checks, preprocessing, slice triplets and the on-disk store."""
