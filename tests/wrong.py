"""Wrong values of every kind of argument, and whether they are refused; see ``test_fuzz``."""

import datetime
import fractions
import re

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

FEW = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
FRAMES, HEIGHT, WIDTH, UNITS, STREAMS = 3, 18, 32, 7, 2
SIZE = (HEIGHT, WIDTH)
VIDEO = np.zeros((FRAMES, *SIZE), np.uint8)


class Odd:
    """Of no kind that anything expects."""

    def __repr__(self):
        return "Odd()"


# Of no kind that any argument expects, numbers and words apart.
JUNK = st.sampled_from(
    [
        Odd(),
        Odd,
        object(),
        b"bytes",
        {},
        {"a": 1},
        {1, 2},
        1j,
        np.complex64(1),
        datetime.date(2020, 1, 1),
        np.datetime64("2020-01-01"),
        np.timedelta64(3, "s"),
        fractions.Fraction(1, 2),
        slice(None),
        ...,
        NotImplemented,
        np.array(None),
        np.array(["a", None], object),
        np.zeros((0, 2)),
        np.zeros(2, "M8[s]"),
        np.zeros(2, [("a", float)]),
        [[1], [1, 2]],
        [None],
        [[]],
        pd.DataFrame(),
        pd.NA,
        pd.NaT,
    ]
)
# Hypothesis tries words of the source, too, and some of these are right.
NO_WORDS = st.text(max_size=4).filter(lambda text: not (text.isascii() and text.isidentifier()))
TEXTS = NO_WORDS | st.sampled_from(["1", "0.5", "nan", "None", "dark ", "DARK", "a", "word", "x_1", "\0", "x" * 5000])
HUGE = st.sampled_from([2**31, 2**63, 2**64, 10**30, 10**400])
NOT_FINITE = st.sampled_from([np.nan, np.inf, -np.inf, np.float32("nan"), np.float64("inf")])
BOOLEANS = st.sampled_from([True, False, np.True_, np.False_])
NONE = st.none()
NO_SCALARS = st.sampled_from([[], [1], (1, 2), np.zeros(2), np.zeros((1, 1)), jnp.zeros(3), range(3), [0.5, "a"]])


def integers(least=1, most=None, none=False):
    """What is no integer in a range."""
    below = st.integers(max_value=least - 1) | st.sampled_from([np.int64(least - 1), least - 1])
    above = HUGE if most is None else HUGE.filter(lambda value: value > most) | st.integers(min_value=most + 1)
    floats = st.floats() | st.sampled_from([1.0, 2.5, np.float32(2), np.float64(1)])
    wrong = JUNK | TEXTS | below | above | floats | BOOLEANS | NO_SCALARS
    return wrong if none else wrong | NONE


def floats(least=None, above=None, most=None, none=False):
    """What is no finite number in a range."""
    wrong = JUNK | TEXTS | NOT_FINITE | BOOLEANS | NO_SCALARS | st.just(10**400)
    if least is not None:
        wrong |= st.floats(max_value=least, exclude_max=True) | st.integers(max_value=int(least) - 1)
    if above is not None:
        wrong |= st.floats(max_value=above) | st.sampled_from([int(above), np.float32(above)])
    if most is not None:
        wrong |= st.floats(min_value=most, exclude_min=True) | HUGE
    return wrong if none else wrong | NONE


def seeds(none=False):
    return integers(0, 2**63 - 1, none)


def words(*right):
    """What is none of a few words."""
    texts = TEXTS.filter(lambda text: text not in right)
    near = st.sampled_from([f(word) for word in right for f in (str.upper, lambda w: w[:-1], lambda w: [w])])
    return JUNK | texts | near | st.integers() | st.floats() | BOOLEANS | NO_SCALARS | NONE


def booleans(none=False):
    wrong = JUNK | TEXTS | st.integers() | st.floats() | NO_SCALARS | st.sampled_from([np.int8(1), np.array([True])])
    return wrong if none else wrong | NONE


def lists(items, empty=True):
    """What is no list of right items: no list, or one with a wrong item."""
    no_lists = st.sampled_from([1, 0.5, True, "text", b"bytes", {}, {"a": 1}, {1, 2}, Odd(), np.array(1.0)])
    wrong = no_lists | NONE | st.lists(items, min_size=1, max_size=3) | st.tuples(items)
    return wrong | st.sampled_from([[], (), np.zeros(0)]) if empty else wrong


def points():
    numbers = st.sampled_from([[1.0], (1, 2, 3), [[0, 0]], np.zeros((2, 2))])
    return lists(floats()) | numbers | st.tuples(floats(), st.just(1.0)) | st.tuples(st.just(1.0), floats())


def paths():
    return (JUNK | BOOLEANS | st.floats() | NO_SCALARS | NONE).filter(lambda v: v is not None) | st.sampled_from(
        ["", "a\0b", "~nobody-of-this-name/x", 2.5]
    )


def shapes(*right):
    """Shapes of up to five axes that are none of the right ones, small."""
    sizes = st.sampled_from([0, 1, 2, 3, 5, HEIGHT, WIDTH])
    return st.lists(sizes, max_size=5).map(tuple).filter(lambda shape: shape not in right)


DTYPES = (int, bool, complex, object, "U1", "S1", "M8[s]", "m8[s]", np.int8, np.uint16)
LEVELS = [np.nan, np.inf, -np.inf, -0.1, 1.01, 255.0]


@st.composite
def one_wrong_value(draw, shape, values):
    array = np.zeros(shape, draw(st.sampled_from([np.float32, np.float64, np.float16])))
    array.reshape(-1)[draw(st.integers(0, array.size - 1))] = draw(st.sampled_from(values))
    return array


def no_video(*right, base=VIDEO.shape):
    """What is no video, or no frame, of the right size."""
    wrong = JUNK | TEXTS | NONE | st.integers() | st.floats() | BOOLEANS | NO_SCALARS
    wrong |= shapes(*right).map(lambda shape: np.zeros(shape, np.uint8))
    wrong |= shapes(*right).map(lambda shape: jnp.zeros(shape, jnp.float32))
    wrong |= st.sampled_from(DTYPES).map(lambda dtype: np.zeros(base, dtype))
    return wrong | one_wrong_value(base, LEVELS)


RIGHT_VIDEOS = [(t, *s) for t in (1, 2, 3, 5, HEIGHT, WIDTH) for s in (SIZE, (*SIZE, 1))]
RIGHT_VIDEOS += [(t, n, *SIZE, 1) for t in (1, 2, 3, 5, HEIGHT, WIDTH) for n in (1, 2, 3, 5, HEIGHT, WIDTH)]
RIGHT_FRAMES = [SIZE, (*SIZE, 1), *((n, *SIZE, 1) for n in (1, 2, 3, 5, HEIGHT, WIDTH))]


def no_trace(*right):
    wrong = JUNK | TEXTS | st.integers() | st.floats() | BOOLEANS | NO_SCALARS
    wrong = wrong.filter(lambda value: np.shape(value) not in right if isinstance(value, np.ndarray | tuple) else True)
    wrong |= shapes(*right).map(np.zeros)
    wrong |= st.sampled_from([d for d in DTYPES if d not in (int, np.int8, np.uint16)]).map(
        lambda d: np.zeros(right[0], d)
    )
    return wrong | one_wrong_value(right[0], LEVELS[:3])


def check(call, argument, strategy, *synonyms):
    """Whether all wrong values of one argument are refused by its name, or one of the others."""
    names = re.compile(rf"(?<!\w)({'|'.join((argument, *synonyms))})(?!\w)")

    @FEW
    @given(strategy)
    def is_refused(value):
        refused(call, argument, value, names)

    is_refused()


def refused(call, argument, value, names):
    with pytest.raises((TypeError, ValueError, OSError)) as caught:
        call(**{argument: value})
    message = str(caught.value)
    is_path = isinstance(value, str) and value and value in message  # which names itself
    assert is_path or names.search(message), f"not named: {caught.value!r}"
    assert is_path or not isinstance(caught.value, OSError)
    assert len(message) < 3000, "too long to be read"
    assert type(caught.value).__module__.split(".")[0] in ("builtins", "fnn_jax"), type(caught.value)
