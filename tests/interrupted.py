"""A screen that is interrupted in the middle, and called again."""

import pytest

from fnn_jax.screen import predictor, store


def interrupt_and_resume(monkeypatch, run, blocks):
    """Call ``run`` until so many blocks are written, then again to the end; the stimuli that were predicted then."""
    real, writes = store.ScreenStore.write, []

    def write(self, number, rows):
        if len(writes) == blocks:
            raise KeyboardInterrupt
        writes.append(number)
        real(self, number, rows)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(store.ScreenStore, "write", write)
        run()
    predicted = []
    dispatch = predictor.Predictor._dispatch
    monkeypatch.setattr(
        predictor.Predictor, "_dispatch", lambda self, batch: predicted.extend(batch) or dispatch(self, batch)
    )
    run()
    return predicted
