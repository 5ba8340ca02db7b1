"""What goes wrong while torchvision downloads a data set, as one line each."""

from __future__ import annotations

import http.client
import urllib.error
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from resrepro.errors import UserError


@contextmanager
def download_errors(data_dir: Path, folder: str, archive: str, source: str) -> Iterator[None]:
    """Makes `data_dir`; inside, `archive` is downloaded into it, from `source`, and unpacked to `folder`.

    Raises:
        UserError: no network, no place on the disk, a damaged archive.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        yield
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
        raise UserError(
            f"{data_dir / archive}: damaged download, another md5 than expected ({error}); delete it and try again"
        ) from error
