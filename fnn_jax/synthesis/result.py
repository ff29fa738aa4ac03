"""What a synthesis found: stimuli, losses, responses; on disk and back."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fnn_jax.common.arrays import load_arrays, save_arrays
from fnn_jax.common.records import read_record

RECORD, RESULT = "synthesis.json", "result.npz"


class SynthesisError(ValueError):
    """A folder that does not hold the synthesis that was asked for."""


@dataclass(repr=False)
class Synthesis:
    """Stimuli of each target.

    Attributes:
        frames: uint8 ``[target, stimulus, T, H, W]``; ``start_frames`` likewise, before the first step.
        responses: of the target's units to the final stimuli, all streams, without the burn-in: ``[target, stimulus, T,
            trial, unit]``; ``start_responses`` likewise.
        losses, penalties: of each step, ``[target, step]``, penalties included in the loss; NaN after a target stopped.
        final_loss, final_penalty: of the final stimuli, all streams, nothing random.
        stopped: why each target stopped.
        learned_perspectives, learned_modulations: ``[target, 2]``, where behaviour was learned.
        record: what was done, with the hashes that resuming compares.
    """

    frames: np.ndarray
    start_frames: np.ndarray
    responses: np.ndarray
    start_responses: np.ndarray
    losses: np.ndarray
    penalties: np.ndarray
    final_loss: np.ndarray
    final_penalty: np.ndarray
    stopped: np.ndarray
    learned_perspectives: np.ndarray | None = None
    learned_modulations: np.ndarray | None = None
    record: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        targets, stimuli, *shape = self.frames.shape
        each = "a stimulus" if stimuli == 1 else f"{stimuli} stimuli"
        size = f"{shape[0]} frames of {shape[1]} x {shape[2]}"
        return f"Synthesis({targets} target{'s' * (targets != 1)}, {each} each, {size})"

    @property
    def names(self) -> list[str]:
        """Of the targets: their readout ids."""
        return ["-".join(map(str, each)) if isinstance(each, list) else str(each) for each in self.record["units"]]

    @property
    def table(self) -> pd.DataFrame:
        """A row for each target: mean responses before and after, loss, steps made, and why it stopped."""
        start, end = (array.mean((2, 3, 4)).max(1) for array in (self.start_responses, self.responses))
        return pd.DataFrame(
            {
                "target": self.names,
                "start_response": start,
                "response": end,
                "loss": self.final_loss,
                "penalty": self.final_penalty,
                "steps": np.isfinite(self.losses).sum(1),
                "stopped": self.stopped,
            }
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything but the record, by name."""
        return {name: value for name, value in vars(self).items() if name != "record" and value is not None}

    @classmethod
    def load(cls, folder: str | os.PathLike) -> "Synthesis":
        """A synthesis from the folder that ``synthesize`` wrote.

        Raises:
            SynthesisError: there is none, it is not finished, or it is damaged.
        """
        folder = Path(folder).expanduser().absolute()
        if not (folder / RECORD).exists():
            raise SynthesisError(f"{folder} holds no synthesis: there is no {RECORD}.")
        record = read_record(folder / RECORD, "synthesis", SynthesisError)
        if not (folder / RESULT).exists():
            raise SynthesisError(f"{folder} holds a synthesis that is not finished. Call synthesize with it to go on.")
        remedy = "Call synthesize with the same arguments: it is computed again."
        arrays = load_arrays(folder / RESULT, record, SynthesisError, remedy)
        try:
            return cls(record=record, **arrays)
        except TypeError as error:
            raise SynthesisError(
                f"{folder} holds a synthesis of another version of fnn_jax ({error}). Read it with that, or call "
                "synthesize with another folder."
            ) from error

    def save(self, folder: Path) -> None:
        """Write the arrays into a folder that holds the record."""
        save_arrays(folder / RESULT, self.arrays(), self.record)
