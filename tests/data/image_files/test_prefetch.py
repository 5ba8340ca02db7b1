"""Views that are made ahead by other threads."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch

from resrepro.data.image_files.listing import ImageFiles
from resrepro.data.image_files.prefetch import HostBatch, prefetched
from resrepro.errors import UserError
from support.images import views


def same(a: HostBatch, b: HostBatch) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a[:4], b[:4], strict=True))


def test_a_corrupt_image_is_named_or_the_next_one_stands_for_it(files: ImageFiles) -> None:
    crops = views(files).crops
    bad, after = crops.index(1), crops.index(2)
    whole = Path(files.name(bad)).read_bytes()
    Path(files.name(bad)).write_bytes(files.read(after))  # the same view of the next image
    of_next = views(files)[0].images[1]
    Path(files.name(bad)).write_bytes(whole)
    Path(files.name(bad)).write_bytes(files.read(bad)[:-200])
    for num_workers in (0, 1):
        batches = prefetched(views(files), range(3), num_workers=num_workers)
        with pytest.raises(UserError, match=rf"^{files.name(bad)}: not a readable image .*--skip-corrupt$"):
            list(batches)
        with pytest.warns(UserWarning) as warned:
            got = list(prefetched(views(files, skip_corrupt=True), range(6), num_workers=num_workers))
        assert [str(w.message) for w in warned if w.category is UserWarning] == [
            f"{files.name(bad)}: cannot be decoded; the next image stands for it"
        ]
        assert list(got[0].skipped) == [files.name(bad)]
        assert torch.equal(got[0].images[1], of_next) and got[0].labels[1] == files.labels[crops.index(2)]
        places = [position for position in range(24) if crops.index(position) == bad]
        assert len(places) > 1 and sum(len(b.skipped) for b in got) == len(places)
    for i in range(10):
        Path(files.name(i)).write_bytes(b"no image")
    with pytest.raises(UserError, match="not one readable image in 10"):
        views(files, skip_corrupt=True)[0]


@pytest.mark.parametrize("num_workers", [0, 1, 2])
def test_prefetched_is_the_same_with_any_number_of_workers(files: ImageFiles, num_workers: int) -> None:
    before = torch.get_rng_state()
    got = list(prefetched(views(files), range(5, 11), num_workers=num_workers))
    assert len(got) == 6 and all(same(batch, views(files)[5 + i]) for i, batch in enumerate(got))
    assert all(batch.images.is_contiguous(memory_format=torch.channels_last) for batch in got)
    assert torch.equal(torch.get_rng_state(), before)


def test_memory_is_used_again_once_nothing_refers_to_it(files: ImageFiles) -> None:
    dataset = views(files)
    held = [dataset[i] for i in range(3)]
    places = {batch.images.data_ptr() for batch in held}
    assert len(places) == 3 and all(same(batch, views(files)[i]) for i, batch in enumerate(held))
    part = held.pop().images[1:]
    assert dataset[3].images.data_ptr() not in places  # a part of it is still in use
    expected = views(files)[2].images[1:]
    assert torch.equal(part, expected)
    del part
    assert {dataset[i].images.data_ptr() for i in range(4, 9)} & places


def test_prefetched_can_be_closed_early_and_used_again(files: ImageFiles) -> None:
    others = threading.active_count()  # this thread, and what tests before this one left
    first = prefetched(views(files), range(10**6), num_workers=1)
    second = prefetched(views(files), range(3, 5), num_workers=1)
    assert same(next(first), views(files)[0]) and same(next(second), views(files)[3])
    first.close()  # type: ignore[attr-defined]
    assert threading.active_count() == others + 1  # the second's
    assert same(next(second), views(files)[4]) and next(second, None) is None
    assert same(next(prefetched(views(files), range(2), num_workers=1)), views(files)[0])
    assert threading.active_count() == others


def test_items_that_take_long_are_given_up_once_nobody_wants_them() -> None:
    stopped, in_time = threading.Event(), []

    class Long:
        def __getitem__(self, index: int) -> int:
            if index:
                in_time.append(stopped.wait(5))
            return index

    made = prefetched(Long(), range(2), num_workers=1, stop=stopped.set)
    assert next(made) == 0 and not stopped.is_set()
    made.close()  # type: ignore[attr-defined]
    assert in_time in ([], [True])  # [] where it had not begun
