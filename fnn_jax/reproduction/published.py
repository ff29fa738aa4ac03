"""The released model's own predictions, as far as they are compared: few requests, and what came is kept."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from fnn_jax.common import checks
from fnn_jax.common.progress import progress_bar
from fnn_jax.microns import scan_name
from fnn_jax.microns.cache import Cache
from fnn_jax.microns.downloads import DownloadError, fetch
from fnn_jax.microns.ranges import RemoteArray, runs
from fnn_jax.microns.release import RemoteFile
from fnn_jax.weights.checkpoint import CheckpointError
from fnn_jax.weights.units import KEY

MOST_REQUESTS = 300  # for the responses of all scans together
BLOCK_FRAMES = 100  # of the stimulus, in one request: what a kill loses
ORDER = "units.csv"


class Predictions:
    """``responses.npy`` ``[unit, frame]`` and ``stimulus.npy`` ``[frame, H, W]`` of a release, read in parts.

    Args:
        cache: where parts are kept, and whether anything may be asked for.
    """

    def __init__(self, cache: Cache):
        files = cache.release.predictions
        if not {"stimulus.npy", "responses.npy"} <= set(files):
            raise ValueError("this release holds no predictions of the released model.")
        self.cache = cache
        self.stimulus = self._remote(files["stimulus.npy"])
        self.responses = self._remote(files["responses.npy"])
        self.order_from = ""
        self._order: pd.DataFrame | None = None

    def _remote(self, file: RemoteFile) -> RemoteArray:
        return RemoteArray(file, self.cache.directory, self.cache.release.base_url, offline=self.cache.offline)

    def check(self, frames: int, size: tuple[int, int]) -> None:
        """Whether both arrays are of this release, and long enough.

        Raises:
            ValueError: ``frames`` is more than there are. DownloadError: arrays of other shapes or dtypes, or what
                ``RemoteArray`` raises.
        """
        units = sum(self.cache.release.num_units.values())
        responses, stimulus = self.responses.shape, self.stimulus.shape
        if len(responses) != 2 or responses[0] != units or self.responses.dtype != np.float32:
            raise DownloadError(
                f"{self.responses.url} is an array {list(responses)} of {self.responses.dtype}; expected [{units}, "
                "frames] of float32, a row for each unit: it is of another release."
            )
        if stimulus != (responses[1], *size) or self.stimulus.dtype != np.uint8:
            raise DownloadError(
                f"{self.stimulus.url} is an array {list(stimulus)} of {self.stimulus.dtype}; expected "
                f"{[responses[1], *size]} of uint8, a frame for each column of the responses."
            )
        if frames > responses[1]:
            raise ValueError(f"num_frames is {frames}; the published stream has {responses[1]}.")

    def first_frames(self, frames: int) -> np.ndarray:
        """The first frames of the stimulus, ``[frames, H, W]`` uint8."""
        starts = range(0, frames, BLOCK_FRAMES)
        with progress_bar(self.cache.progress, "frames", "request", over=starts) as bar:
            return np.concatenate([self.stimulus.rows(start, min(BLOCK_FRAMES, frames - start)) for start in bar])

    def choose(self, scans: Sequence[str], units: int) -> dict[str, pd.DataFrame]:
        """Which units of each scan are compared: evenly over the scan, some beside one another to save requests.

        Returns:
            For each scan ``row`` (of the responses) and ``unit_id``; the same for the same arguments.
        """
        requests = max(1, MOST_REQUESTS // len(scans))
        order = self.order()
        chosen = {}
        for scan in scans:
            session, scan_idx = map(int, scan.split("-"))
            here = order[(order["session"] == session) & (order["scan_idx"] == scan_idx)]
            places = spread(len(here), units, requests)
            chosen[scan] = here.iloc[places][["unit_id"]].rename_axis("row").reset_index()
        return chosen

    def of_rows(self, rows: np.ndarray, frames: int) -> np.ndarray:
        """The first frames of rows of the responses, ``[frame, row]`` float32, in the order of ``rows``."""
        pieces = [self.responses.rows(first, count, frames) for first, count in runs(rows)]
        sorted_rows = np.concatenate([np.arange(first, first + count) for first, count in runs(rows)])
        return np.concatenate(pieces)[np.searchsorted(sorted_rows, rows)].T

    def order(self) -> pd.DataFrame:
        """Which unit each row of the responses is: ``session, scan_idx, unit_id``.

        Raises:
            DownloadError: the published table of rows is not that of this release.
        """
        if self._order is None:
            self._order = self._published_order()
        if self._order is None:
            table = self.cache.readout_ids("default")
            if table is None:
                raise CheckpointError("The weights are not here. Get them: fnn-jax download")
            names = table["session"].astype(str) + "-" + table["scan_idx"].astype(str)
            table = table[names.isin(list(self.cache.release.num_units))]
            self._order = table.sort_values(["session", "scan_idx", "readout_id"], ignore_index=True)[KEY]
            self.order_from = "units.csv of the weights (the responses have no table of their own)"
        return self._order

    def _published_order(self) -> pd.DataFrame | None:
        file = self.cache.release.predictions.get(ORDER)
        if file is None:
            return None
        table = self._remote(file)
        if not table.is_here and not table.is_on_server():
            return None
        path = fetch(
            file,
            self.cache.directory,
            self.cache.release.base_url,
            check=lambda path: self.cache.check_table(path, ()),
            offline=self.cache.offline,
            progress=self.cache.progress,
        )
        self.order_from = file.path
        return pd.read_csv(path)[KEY]


def spread(rows: int, units: int, requests: int) -> np.ndarray:
    """Places of ``units`` out of ``rows``, evenly, in as many groups of neighbours as there may be requests."""
    units = min(units, rows)
    groups = min(units, requests)
    sizes = np.full(groups, units // groups)
    sizes[: units % groups] += 1
    between = np.floor(np.arange(groups) * ((rows - units) / groups)).astype(int)  # rows left out so far
    starts = np.concatenate([[0], sizes.cumsum()[:-1]]) + between
    return np.concatenate([np.arange(start, start + size) for start, size in zip(starts, sizes, strict=True)])


def megabytes(num_units: Sequence[int], units: int, frames: int, columns: int) -> tuple[float, int]:
    """What ``Predictions.of_rows`` will take of the units that ``choose`` chooses: megabytes, and requests.

    Args:
        num_units: units of each scan. columns: frames of the whole stream: what lies between two neighbours.
    """
    requests = max(1, MOST_REQUESTS // len(num_units))
    total, count = 0, 0
    for each in num_units:
        pieces = runs(spread(each, units, requests))
        count += len(pieces)
        total += sum(4 * ((size - 1) * columns + frames) for _, size in pieces)
    return total / 1e6, count


def checked_scans(cache: Cache, scans: Sequence[str] | str | None) -> list[str]:
    """Names of published scans, each once.

    Raises:
        TypeError, ValueError: what are no such names.
    """
    if scans is None:
        return list(cache.release.num_units)
    given = [scans] if isinstance(scans, str) else checks.ordered("scans", scans, "names such as '8-5'")
    names = list(dict.fromkeys(map(scan_name, given)))
    unknown = [name for name in names if name not in cache.release.num_units]
    if unknown:
        raise ValueError(f"scans has {unknown}; the published ones are {list(cache.release.num_units)}.")
    return names
