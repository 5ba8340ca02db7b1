"""A dataset's folder as torchvision downloads it, whole or not at all."""

from __future__ import annotations

import http.client
import tempfile
import urllib.error
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from resrepro.errors import UserError


@contextmanager
def downloaded(data_dir: Path, folder: str, archive: str, source: str) -> Iterator[Path]:
    """Give a place where `archive` is to be downloaded and unpacked; then move `folder` from there to `data_dir`.

    An archive that is in `data_dir` already need not be downloaded. Where another process was faster, its folder stays.

    Raises:
        UserError: no network, no place on the disk, a damaged archive.
    """
    there = data_dir / archive
    new = [p for p in (data_dir, *data_dir.parents) if not p.exists()]
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=data_dir, prefix=".download-") as place:
            if there.exists():
                (Path(place) / archive).symlink_to(there.resolve())
            yield Path(place)
            try:
                (Path(place) / folder).rename(data_dir / folder)
            except OSError:
                if not (data_dir / folder).is_dir():
                    raise
    except (urllib.error.URLError, ConnectionError, TimeoutError, http.client.HTTPException) as error:
        raise UserError(
            f"{data_dir}: no {folder} there, and it cannot be downloaded from {source} "
            f"({getattr(error, 'reason', None) or error or type(error).__name__}); put the folder '{folder}' of the "
            "official archive into it, or name its parent with --data-dir"
        ) from error
    except OSError as error:
        raise UserError(
            f"{data_dir}: cannot be written: {error.strerror or error}; choose another --data-dir"
        ) from error
    except RuntimeError as error:  # torchvision's word for an archive with a wrong md5
        fix = f"delete {there} and try again" if there.exists() else "try again"
        raise UserError(f"{archive}: damaged, another md5 than expected ({error}); {fix}") from error
    finally:
        with suppress(OSError):  # a folder that was made here, and into which nothing came, may be a typing error
            for made in new:
                made.rmdir()
