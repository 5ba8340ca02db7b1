"""Downloads arrive whole or not at all."""

from __future__ import annotations

import hashlib
import http.client
import shutil
import tarfile
import urllib.error
from pathlib import Path

import pytest
import torchvision
from torchvision.datasets import CIFAR10

from resrepro.errors import UserError
from support.images import load_images


@pytest.mark.parametrize(
    "failure",
    [urllib.error.URLError("no route"), ConnectionResetError("no route"), http.client.IncompleteRead(b"no route")],
)
def test_no_network_says_where_to_put_the_files(
    failure: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", refuse)
    with pytest.raises(UserError, match=r"cannot be downloaded .*(no route|IncompleteRead).*--data-dir"):
        load_images("cifar10", data_dir=tmp_path / "absent")


@pytest.mark.parametrize("another", [False, True], ids=["alone", "beside another process"])
def test_an_archive_becomes_a_whole_folder(another: bool, cifar: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, data_dir = cifar / "cifar-10-batches-py", cifar / "data"
    data_dir.mkdir()
    with tarfile.open(data_dir / CIFAR10.filename, "w:gz") as archive:
        archive.add(folder, folder.name)
    md5 = hashlib.md5((data_dir / CIFAR10.filename).read_bytes()).hexdigest()
    monkeypatch.setattr(CIFAR10, "tgz_md5", md5)
    unpack = torchvision.datasets.cifar.download_and_extract_archive

    def unpacked(url: str, place: str, **rest: object) -> None:
        assert not (data_dir / folder.name).exists() and Path(place) != data_dir
        if another:
            shutil.copytree(folder, data_dir / folder.name)
        unpack(url, place, **rest)

    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", unpacked)
    assert len(load_images("cifar10", data_dir=data_dir).train_images) == 100
    assert sorted(path.name for path in data_dir.iterdir()) == [folder.name, CIFAR10.filename]
