"""A linear readout of values inside a twin, fitted to other responses: a benchmark of how like a brain it is."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from fnn_jax.common.extras import missing

try:
    from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
    from sklearn.linear_model import RidgeCV
    from sklearn.preprocessing import StandardScaler
    from sklearn.utils.validation import check_is_fitted
except ImportError as error:
    raise ImportError(missing("Encoder", "encoding")) from error

from fnn_jax.common.checks import integer, numbers, shown
from fnn_jax.common.progress import SHORT_FRAMES, checked_progress, progress_bar
from fnn_jax.encoding.reduction import Reduction
from fnn_jax.encoding.videos import Video, checked_videos, unit_labels
from fnn_jax.model.extent import last_border
from fnn_jax.twin import sizes
from fnn_jax.twin.prediction import chunks, feature_names, value_shapes
from fnn_jax.twin.rollout import Options
from fnn_jax.twin.twin import Twin

ALPHAS = tuple(10.0**power for power in range(-2, 8))


class Encoder(MultiOutputMixin, RegressorMixin, BaseEstimator):
    """Ridge regression from values inside a twin to responses of other neurons, to voxels, or the like.

    >>> encoder = Encoder(twin, layer="core").fit(videos, responses)
    >>> encoder.score(other_videos, other_responses)

    An estimator of scikit-learn, whose samples are videos: ``clone``, ``cross_val_score`` and ``GridSearchCV`` take it.
    A clone shares the twin. Values come chunk by chunk and are reduced at once; what is kept grows with the frames by
    ``n_features_`` numbers each.

    Args:
        twin: a twin; it is not changed.
        layer: names of ``twin.feature_table()``, or patterns: one, or a list. The network runs as far as they ask for.
        reduction: how the values of each name become few. ``"sparse"``: a sparse random projection, which keeps
            distances, and of the published network's maps needs 4 MB where ``"gaussian"`` needs 800; ``"grid"``: the
            mean over blocks of positions, every channel apart; ``"none"``: all values are kept.
        n_components: numbers that a projection keeps of each name; a name with fewer values keeps them as they are.
        grid: rows and columns of blocks.
        streams: ``"all"``: values of all streams count, because channels of two streams, trained apart, have nothing to
            do with one another; or ``"mean"`` over streams.
        alphas: penalties to choose from, for features of unit variance.
        cv: how: None, by leaving out one frame at a time, for each unit apart; or as for ``sklearn``'s ``RidgeCV``, one
            for all units: a number of blocks of frames, or a splitter. Where noise lasts for many frames, as that of
            voxels, leaving out one frame chooses too small ones.
        burn_in: frames at the beginning of each video that do not count, because the network's state is young.
        delay: frames by which responses come after what the network sees; predictions before it are NaN.
        seed: of the projections; the same one gives the same result.
        periphery, precision, chunk_frames: as for ``Twin.predict``.
        progress: show a progress bar; None: in terminals and notebooks, for 20 seconds of video or more.

    Attributes:
        coef_: ``[units, n_features_]``, of the reduced values.
        intercept_: ``[units]``.
        alpha_: the penalty of each unit, ``[units]``.
        n_features_: numbers that are kept of a frame.
        units_: the coordinate ``unit`` of responses that were DataArrays; None: they had none.
        layer_names_: the names that ``layer`` means.
        reduction_: makes them: ``reduction_(twin.features(video, layer_names_))`` is ``[T, n_features_]``.

    Arguments are looked at by ``fit``, as is usual there; wrong ones raise ``TypeError`` or ``ValueError``.
    """

    def __init__(
        self,
        twin: Twin,
        layer: str | Sequence[str] = "core",
        *,
        reduction: str = "sparse",
        n_components: int = 1000,
        grid: tuple[int, int] = (4, 6),
        streams: str = "all",
        alphas: Sequence[float] = ALPHAS,
        cv: Any = None,
        burn_in: int = 10,
        delay: int = 0,
        seed: int = 0,
        periphery: str = "dark",
        precision: str = "float32",
        chunk_frames: int | None = None,
        progress: bool | None = None,
    ):
        self.twin = twin
        self.layer = layer
        self.reduction = reduction
        self.n_components = n_components
        self.grid = grid
        self.streams = streams
        self.alphas = alphas
        self.cv = cv
        self.burn_in = burn_in
        self.delay = delay
        self.seed = seed
        self.periphery = periphery
        self.precision = precision
        self.chunk_frames = chunk_frames
        self.progress = progress

    def __sklearn_clone__(self) -> "Encoder":
        """With the same twin: a copy of its parameters for each fold would fill the memory."""
        return type(self)(**self.get_params(deep=False))

    def fit(self, stimuli: Any, responses: Any, perspectives: Any = None, modulations: Any = None) -> "Encoder":
        """Fit the readout.

        Args:
            stimuli: a video as for ``Twin.predict``, without a batch axis; or a list of videos, each of which starts
                anew. An ``xarray.DataArray`` has its axes by name, see ``labelled.predict``.
            responses: ``[T, units]``, a row for each frame at 30 Hz; for a list of videos, a list of them. Coordinates
                ``time`` and ``unit`` of DataArrays are compared: with those of the video, and of the other responses.
            perspectives, modulations: as for ``Twin.predict``, or a list of them; default zeros.

        Returns:
            The encoder.

        Raises:
            TypeError, ValueError: arguments that do not fit, responses that are NaN, or too few frames.
        """
        names, reduction = self._checked()
        alphas = numbers("alphas", self.alphas, above=0)
        videos, _ = checked_videos(self.twin.config, stimuli, perspectives, modulations, responses)
        self._require_frames(videos)
        rows = [self._reduced(names, reduction, video) for video in self._with_bar(videos)]
        counted = [array[self.burn_in : len(array) - self.delay] for array in rows]
        scaler = StandardScaler(copy=False)
        features = scaler.fit_transform(np.concatenate(counted))
        ridge = RidgeCV(alphas, cv=self.cv, alpha_per_target=self.cv is None)
        targets = np.concatenate([video.responses[self.burn_in + self.delay :] for video in videos])  # type: ignore[index]
        ridge.fit(features, targets.astype(np.float64))
        self.coef_ = ridge.coef_.reshape(targets.shape[1], -1) / scaler.scale_
        self.intercept_ = ridge.intercept_ - self.coef_ @ scaler.mean_
        self.alpha_ = np.broadcast_to(ridge.alpha_, targets.shape[1:]).copy()
        self.n_features_, self.layer_names_, self.reduction_ = reduction.size, names, reduction
        self.units_ = unit_labels(responses)
        return self

    def predict(self, stimuli: Any, perspectives: Any = None, modulations: Any = None) -> Any:
        """Predictions for each frame of a video, ``[T, units]``; a list of them for a list of videos.

        The first ``delay`` rows are NaN. Inputs as for ``fit``.

        Raises:
            sklearn.exceptions.NotFittedError: ``fit`` comes first.
            TypeError, ValueError: inputs that do not fit.
        """
        check_is_fitted(self)
        videos, several = checked_videos(self.twin.config, stimuli, perspectives, modulations)
        found = [self._predicted(video) for video in self._with_bar(videos)]
        return found if several else found[0]

    def scores(self, stimuli: Any, responses: Any, perspectives: Any = None, modulations: Any = None) -> np.ndarray:
        """Correlation of predictions and responses of each unit, ``[units]``, over the frames of all videos in a row.

        The first ``burn_in + delay`` frames of each do not count. A prediction that is constant has the score 0, a unit
        whose responses are constant NaN. Inputs as for ``fit``.

        Raises:
            sklearn.exceptions.NotFittedError: ``fit`` comes first.
            TypeError, ValueError: inputs that do not fit.
        """
        check_is_fitted(self)
        videos, _ = checked_videos(self.twin.config, stimuli, perspectives, modulations, responses)
        self._require_frames(videos)
        first = self.burn_in + self.delay
        observed = np.concatenate([video.responses[first:] for video in videos]).astype(np.float64)  # type: ignore[index]
        if observed.shape[1] != len(self.coef_):
            raise ValueError(
                f"responses has {observed.shape[1]} units; expected {len(self.coef_)}, those of fit, in the same order."
            )
        labels = unit_labels(responses)
        if labels is not None and self.units_ is not None and not np.array_equal(labels, self.units_):
            raise ValueError(
                f"responses has the units {shown(labels.tolist())}; expected {shown(self.units_.tolist())}, those of "
                "fit, in the same order. Put them in order: responses.sel(unit=encoder.units_)."
            )
        predicted = np.concatenate([self._predicted(video)[first:] for video in self._with_bar(videos)])
        return _correlations(predicted, observed)

    def score(self, stimuli: Any, responses: Any, perspectives: Any = None, modulations: Any = None) -> float:
        """The mean of ``scores`` over units whose responses vary; NaN where there are none.

        A correlation, not the R squared of other regressors. Raises what ``scores`` raises.
        """
        scores = self.scores(stimuli, responses, perspectives, modulations)
        return float(np.nanmean(scores)) if np.isfinite(scores).any() else np.nan

    def _checked(self) -> tuple[tuple[str, ...], Reduction]:
        """The names that are meant, and what becomes of them."""
        twin = self.twin
        if not isinstance(twin, Twin):
            raise TypeError(f"twin is {shown(twin)}; expected Twin, such as microns.scan(8, 5)[0].")
        names = feature_names(twin.network, self.layer, "layer")
        if not names:
            raise ValueError("layer is empty; expected names, or patterns, of twin.feature_table().")
        integer("burn_in", self.burn_in, 0)
        integer("delay", self.delay, 0)
        checked_progress(self.progress)
        twin.network.check_options(None, self.periphery, names, self.precision)
        sizes.checked_chunk_frames(self.chunk_frames, twin.config, twin._device(), 1)
        shapes = {name: value.shape for name, value in value_shapes(twin.network, names).items()}
        settings = (self.reduction, self.n_components, self.grid, self.streams, self.seed)
        return names, Reduction({name: shapes[name] for name in names}, *settings)

    def _require_frames(self, videos: Sequence[Video]) -> None:
        short = [index for index, video in enumerate(videos) if video.inputs.frames < self.burn_in + self.delay + 2]
        if short:
            frames = videos[short[0]].inputs.frames
            raise ValueError(
                f"stimuli has {frames} frames in video {short[0]}, and burn_in + delay is {self.burn_in} + "
                f"{self.delay}; expected at least two more frames."
            )

    def _with_bar(self, videos: Sequence[Video]) -> Iterator[Video]:
        total = sum(video.inputs.frames for video in videos)
        with progress_bar(self.progress, "encode", "frame", total, least=SHORT_FRAMES, compiles=True) as bar:
            for video in videos:
                yield video
                bar.update(video.inputs.frames)

    def _chunks(self, names: tuple[str, ...], reduction: Reduction, video: Video) -> Iterator[tuple[slice, np.ndarray]]:
        end = last_border("stimulus", names)  # what follows is not computed
        options = Options(self.periphery, None, names, self.precision, self.chunk_frames, {}, "stimulus", end)
        for frames, output in chunks(self.twin, video.inputs, options):
            values = {name: np.asarray(output.features[name])[: frames.stop - frames.start, 0] for name in names}
            found = reduction(values)
            if not np.isfinite(found).all():
                raise ValueError(
                    f"{', '.join(names)} is NaN or infinite in the frames {frames.start} to {frames.stop}; expected "
                    "finite values. Look for the first stage that is: twin.features(video, ['*'])."
                )
            yield frames, found

    def _reduced(self, names: tuple[str, ...], reduction: Reduction, video: Video) -> np.ndarray:
        """``[T, n_features_]``."""
        rows = np.empty((video.inputs.frames, reduction.size), np.float32)
        for frames, found in self._chunks(names, reduction, video):
            rows[frames] = found
        return rows

    def _predicted(self, video: Video) -> np.ndarray:
        """``[T, units]``; of the features no more than a chunk is kept."""
        rows = np.full((video.inputs.frames + self.delay, len(self.coef_)), np.nan)
        for frames, found in self._chunks(self.layer_names_, self.reduction_, video):
            rows[frames.start + self.delay : frames.stop + self.delay] = found @ self.coef_.T + self.intercept_
        return rows[: video.inputs.frames]


def _correlations(predicted: np.ndarray, observed: np.ndarray) -> np.ndarray:
    predicted, observed = predicted - predicted.mean(0), observed - observed.mean(0)
    lengths = np.linalg.norm(predicted, axis=0), np.linalg.norm(observed, axis=0)
    # A constant is one but for rounding.
    flat, silent = (length <= 1e-12 * np.sqrt(len(predicted)) for length in lengths)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = (predicted * observed).sum(0) / (lengths[0] * lengths[1])
    return np.where(silent, np.nan, np.where(flat, 0.0, found))
