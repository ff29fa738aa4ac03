"""What the works are made from: small twins, a recording, and evaluations."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from fnn_jax import Twin
from fnn_jax.demo import random_network
from fnn_jax.evaluation import Evaluation
from fnn_jax.evaluation.measures import MEASURES

sys.path.append(str(Path(__file__).parents[2] / "tests"))
from disturbed import disturb, small
from recordings import SIZE, write_recording

__all__ = ["SIZE", "write_inputs"]
UNITS = 5


def write_inputs(folder: Path) -> None:
    """Write them all into a folder."""
    table = pd.DataFrame({"area": ["V1", "LM"] * 2 + ["V1"]}, pd.RangeIndex(UNITS, name="readout_id"))
    for name, seed in (("twin", 0), ("old", 1)):
        Twin(disturb(random_network(small(UNITS)), seed), table, label="random weights").save(folder / name)
        random = np.random.default_rng(seed)
        measures = {measure: random.standard_normal(UNITS) for measure in MEASURES}
        measures = pd.DataFrame(measures | {"num_frames": 9, "num_repeats": 2.5}, table.index)
        settings = {"twin": name, "behaviour": True, "videos": {"a": {"repeats": 2, "frames": 9}}}
        Evaluation(measures, measures.reset_index().assign(video="a"), settings, None).save(
            folder / f"{name} evaluation"
        )
    write_recording(folder / "training_data", units=UNITS)
