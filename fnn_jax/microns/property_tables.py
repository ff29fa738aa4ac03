"""What is known of the units: one table of the published properties."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from fnn_jax.microns.cache import COLUMNS, Cache
from fnn_jax.weights.checkpoint import CheckpointError
from fnn_jax.weights.units import KEY, check_animal, flatten, y_sign

SMALL = ("performance", "tuning", "anatomy")  # a few MB each; readout is 210 MB, most of it the weights

MEANING = {
    "animal_id": "the mouse",
    "weights": "which published weights readout_id belongs to",
    "readout_id": "row of the readout, column of the responses",
    "cc_abs": "correlation of the predicted with the recorded response, means over repeats",
    "cc_max": "estimate of the highest correlation that noise allows; missing where there is no signal",
    "cc_norm": "cc_abs / cc_max; can exceed 1",
    "OSI": "orientation selectivity of the fitted curve, (P - O) / (P + O)",
    "DSI": "direction selectivity of the fitted curve, 1 - f(pref_dir + 180) / f(pref_dir)",
    "gOSI": "global orientation selectivity, 1 - circular variance over orientation",
    "gDSI": "global direction selectivity, 1 - circular variance over direction",
    "pref_ori": "degrees, 0 to 180; a vertical bar moving right is 0, counter-clockwise",
    "pref_dir": "degrees, 0 to 360; rightwards is 0, counter-clockwise",
    "unit_x": "micrometres, posterior to anterior",
    "unit_y": "micrometres, lateral to medial",
    "unit_z": "micrometres, superficial to deep",
    "brain_area": "visual area",
    "field": "imaging plane, within the scan",
    "readout_x": "published readout location, -1 left to 1 right",
    "readout_y_down": "published readout location, -1 TOP to 1 bottom",
    "readout_y_up": "published readout location with its sign changed, -1 BOTTOM to 1 top",
}


def unit_table(
    cache: Cache,
    *,
    properties: Sequence[str] | None = None,
    weights: str = "default",
    y: str = "down",
) -> pd.DataFrame:
    """Table of all units by session, scan_idx and unit_id; see ``microns.units``."""
    sign = y_sign(y)
    if properties is None:
        properties = [group for group in COLUMNS if cache.has_properties(group)] or SMALL
    table = cache.readout_ids(weights)
    table = None if table is None else table.assign(weights=weights)
    properties = list(dict.fromkeys(properties))
    for group in properties:
        files = cache.require_properties(group)
        added = pd.read_csv(files["units.csv"])[[*KEY, *COLUMNS[group]]]
        if group == "readout":
            locations = np.load(files["readout_locations.npy"], allow_pickle=False)
            # The release's readme calls (-1, -1) the bottom left; the code that made the numbers puts -1 at the top.
            added = added.assign(**{"readout_x": locations[:, 0], f"readout_y_{y}": sign * locations[:, 1]})
        table = added if table is None else _merge(table, added, group)
    if table is None:
        raise ValueError("properties is empty, and no weights are here; expected at least one of " + str(list(COLUMNS)))
    table.insert(len(KEY), "animal_id", cache.release.animal_id)
    table = table.set_index(KEY).sort_index()
    table.attrs["meaning"] = {name: MEANING[name] for name in table.columns}
    table.attrs["weights"] = {g: cache.release.property_weights.get(g, "") for g in properties}
    return table


def _merge(table: pd.DataFrame, added: pd.DataFrame, group: str) -> pd.DataFrame:
    merged = table.merge(added, on=KEY, how="outer", validate="one_to_one", indicator=True)
    alone = int((merged.pop("_merge") != "both").sum())
    if alone:
        raise CheckpointError(
            f"The property {group} is of other units: {alone} of {len(merged)} are in one table only. Delete the "
            "folder digital_twin_properties and download it again."
        )
    return merged


def join(units: pd.DataFrame, table: pd.DataFrame, animal_id: int) -> pd.DataFrame:
    """A table of units with the properties of each; see ``microns.join``."""
    flat = flatten(units)
    missing = [column for column in KEY if column not in flat]
    if missing:
        raise ValueError(f"units lacks the columns {missing}; it has {list(flat.columns)}.")
    if "animal_id" not in flat:
        raise ValueError(
            "units does not say which animal it is of, and scans and units of all animals have the same numbers. "
            f"If they are of the published mouse: units.assign(animal_id={animal_id})."
        )
    check_animal(flat, table, "units")
    rows = table.index.get_indexer(pd.MultiIndex.from_frame(flat[KEY]))
    if (rows < 0).any():
        first = flat.loc[rows < 0, KEY].iloc[0].tolist()
        raise ValueError(
            f"units holds {int((rows < 0).sum())} that are not published, such as session, scan_idx, unit_id {first}: "
            "they are of another animal, or of another release."
        )
    # Which weights a readout_id belongs to, the published table says of its own alone.
    known = {*flat, "weights"} if "readout_id" in flat else {*flat}
    new = [column for column in table.columns if column not in known]
    added = table.iloc[rows][new].set_axis(units.index)
    joined = pd.concat([units, added], axis=1)
    joined.attrs = dict(table.attrs)
    return joined
