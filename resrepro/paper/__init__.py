"""What the paper says: its numbers, and in `curves` the curves of its figures (which needs numpy)."""

from resrepro.paper.numbers import (
    EVALUATION_SCALES,
    ITS_DATASETS,
    TABLE_1,
    TABLE_1_OUTPUT_SIZES,
    TABLE_2,
    TABLE_3,
    TABLE_4,
    TABLE_5,
    TABLE_6,
    TEST_ERROR_PCT,
    EvaluationProtocol,
    ImageNetRow,
    published_error_pct,
    test_error_spread,
)

__all__ = [
    "EVALUATION_SCALES",
    "ITS_DATASETS",
    "TABLE_1",
    "TABLE_1_OUTPUT_SIZES",
    "TABLE_2",
    "TABLE_3",
    "TABLE_4",
    "TABLE_5",
    "TABLE_6",
    "TEST_ERROR_PCT",
    "EvaluationProtocol",
    "ImageNetRow",
    "published_error_pct",
    "test_error_spread",
]
