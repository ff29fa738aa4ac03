"""Which visual area a unit lies in, told from its readout weights."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from fnn_jax.analysis.pairs import check_labels, shuffled
from fnn_jax.common.checks import array, boolean, integer, number, one_of
from fnn_jax.common.checks import seed as checked_seed
from fnn_jax.common.extras import missing
from fnn_jax.common.progress import checked_progress, progress_bar

try:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import LeaveOneGroupOut, StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
except ImportError as error:
    raise ImportError(missing("decode_area", "analysis")) from error

NORMALISATIONS = ("training", "scan")


class AreaDecoding(NamedTuple):
    """How well areas are told from weights.

    ``balanced_accuracy``: mean over areas of the fraction of their units that is told right. ``by_chance``: the same
    for shuffled areas, one number for each shuffle. ``p``: how many of these are as large, the unshuffled one among
    them. ``confusion``: how many units of each area (rows) were taken for which (columns). ``predicted``: the area of
    each unit as told without having seen it, ``[unit]``.
    """

    balanced_accuracy: float
    by_chance: np.ndarray
    p: float
    confusion: pd.DataFrame
    predicted: np.ndarray


def decode_area(
    weights: Any,
    areas: Any,
    *,
    scans: Any = None,
    across_scans: bool = False,
    normalisation: str = "training",
    folds: int = 5,
    shuffles: int = 19,
    regularisation: float = 1.0,
    seed: int = 0,
    progress: bool | None = None,
) -> AreaDecoding:
    """Areas from readout weights, cross-validated: logistic regression in which all areas have the same weight.

    Args:
        weights: ``[unit, feature]``, finite: ``twin.readout_weights()``.
        areas: the area of each unit, such as ``brain_area`` of ``microns.units``.
        scans: a label for each unit. Areas are shuffled within scans; None: all units are of one.
        across_scans: leave out a whole scan at a time instead of a part of the units.
        normalisation: each feature has mean 0 and variance 1 ``"training"``: in the units that the classifier is fitted
            to; ``"scan"``: in each scan by itself, which takes away what differs between scans, and needs all the
            weights of a scan, though none of its areas.
        folds: parts that are left out in turn, with the same shares of areas; not with ``across_scans``.
        shuffles: of the areas, for the chance level; each takes as long as the decoding itself.
        regularisation: inverse strength of the penalty on weights, ``C`` of scikit-learn.
        seed: of folds and shuffles.
        progress: show a progress bar; None: in terminals and notebooks.

    Raises:
        TypeError, ValueError: wrong arguments, one area only, an area with fewer units than folds, or one scan only
            to go across.
    """
    weights = array("weights", weights, "finite readout weights [unit, feature]", {2}).astype(np.float64)
    areas = np.asarray(areas, object)
    targets, groups = check_labels("areas", areas, len(weights)), check_labels("scans", scans, len(weights))
    across_scans = boolean("across_scans", across_scans)
    one_of("normalisation", normalisation, NORMALISATIONS)
    folds, shuffles = integer("folds", folds, 2), integer("shuffles", shuffles, 19)
    penalty = number("regularisation", regularisation, above=0)
    seed, progress = checked_seed("seed", seed), checked_progress(progress)
    names = [str(name) for name in np.unique(areas)]
    if len(names) < 2:
        raise ValueError(f"areas has {names[0]!r} alone; expected two areas at least.")
    if across_scans and groups.max() == 0:
        raise ValueError("scans has one scan alone; expected two at least, to go across_scans.")
    counts = np.bincount(targets)
    if not across_scans and counts.min() < folds:
        raise ValueError(
            f"areas has {names[counts.argmin()]!r} {counts.min()} times; expected at least {folds}, one for "
            "each of the folds. Leave its units out, or ask for fewer folds."
        )
    if normalisation == "scan":
        for scan in range(groups.max() + 1):
            weights[groups == scan] = StandardScaler().fit_transform(weights[groups == scan])

    splits: Any = (
        LeaveOneGroupOut() if across_scans else StratifiedKFold(folds, shuffle=True, random_state=seed % 2**32)
    )
    classifier = LogisticRegression(C=penalty, class_weight="balanced", max_iter=1000)
    model = make_pipeline(StandardScaler(), classifier)

    def told(labels: np.ndarray) -> np.ndarray:
        if across_scans and any(len(np.unique(labels[groups != scan])) < 2 for scan in np.unique(groups)):
            raise ValueError("areas has one area alone outside of one of the scans; expected two, to tell them apart.")
        return cross_val_predict(model, weights, labels, cv=splits, groups=groups if across_scans else None)

    with progress_bar(progress, "areas", "decoding", 1 + shuffles) as bar:
        predicted = told(targets)
        bar.update()
        confusion = _confusion(targets, predicted, len(names))
        accuracy = _balanced_accuracy(confusion)
        random, by_chance = np.random.default_rng(seed), np.empty(shuffles)
        for k in range(shuffles):
            labels = targets[shuffled(groups, random)]
            by_chance[k] = _balanced_accuracy(_confusion(labels, told(labels), len(names)))
            bar.update()
    table = pd.DataFrame(confusion, pd.Index(names, name="area"), pd.Index(names, name="predicted"))
    p = float(np.mean(np.append(by_chance, accuracy) >= accuracy - 1e-12))
    return AreaDecoding(accuracy, by_chance, p, table, np.asarray(names, object)[predicted])


def _confusion(labels: np.ndarray, predicted: np.ndarray, count: int) -> np.ndarray:
    return np.bincount(labels * count + predicted, minlength=count**2).reshape(count, count)


def _balanced_accuracy(confusion: np.ndarray) -> float:
    return float(np.mean(np.diag(confusion) / confusion.sum(1)))
