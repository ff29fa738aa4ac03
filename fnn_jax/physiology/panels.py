"""The panels that figures are made of: what each protocol shows of a unit, and of all units."""

from typing import Any

import numpy as np
import pandas as pd

from fnn_jax.physiology.protocol import Result
from fnn_jax.physiology.von_mises import von_mises_curve

BLUE, RED, GRAY = "#2b6cb0", "#c53030", "#718096"
RESPONSE = "mean response per frame"
PANELS = {
    "direction": ("direction",),
    "frequency": ("frequency",),
    "size": ("size",),
    "contrast": ("contrast",),
    "surround": ("surround",),
    "dots": ("on", "off"),
    "noise": ("noise",),
}
SUMMARY = {
    "direction": ("OSI", "DSI", "gOSI", "gDSI", "pref_ori", "pref_dir", "r2", "fit"),
    "frequency": ("pref_sf", "pref_tf", "sf_bandwidth_octaves", "tf_bandwidth_octaves", "separability", "sf_fit"),
    "size": ("preferred_size", "suppression"),
    "contrast": ("c50", "exponent", "r_max", "r2", "fit"),
    "surround": ("iso_modulation", "cross_modulation", "opposite_modulation"),
    "dots": ("on_sigma_major", "off_sigma_major", "both_ssi", "on_fit", "off_fit"),
    "noise": ("best_lag", "sigma_major", "r2", "fit"),
}
LABELS = {
    "pref_ori": "preferred orientation (deg)",
    "pref_dir": "preferred direction (deg)",
    "r2": "r² of the fit",
    "pref_sf": "spatial frequency (cycles/{unit})",
    "pref_tf": "temporal frequency (Hz)",
    "sf_bandwidth_octaves": "spatial bandwidth (octaves)",
    "tf_bandwidth_octaves": "temporal bandwidth (octaves)",
    "preferred_size": "preferred diameter ({unit})",
    "suppression": "suppression by size",
    "c50": "contrast of half response",
    "exponent": "exponent of contrast",
    "r_max": "response range",
    "on_sigma_major": "on: major sigma ({unit})",
    "off_sigma_major": "off: major sigma ({unit})",
    "both_ssi": "spatial spread index",
    "best_lag": "best lag (frames)",
    "sigma_major": "major sigma ({unit})",
}
DISCRETE = ("pref_sf", "pref_tf", "preferred_size", "best_lag")
CIRCULAR = ("pref_ori", "pref_dir")
MEASURED = ("gOSI", "gDSI", "r2", "on_ssi", "off_ssi", "both_ssi", "best_lag")  # these do not depend on a fit


def panels_of(result: Result) -> tuple[str, ...]:
    """Of a protocol of the user's own: its curve, or what its intervals made the units do."""
    own = ("curve",) if np.ndim(result.arrays.get("curve")) == 2 else ("responses",) * (result.responses is not None)
    return PANELS.get(result.protocol.name, own)


def summary_of(result: Result) -> tuple[str, ...]:
    """Of a protocol of the user's own: all numbers that it measured."""
    measured = [name for name in result.table.select_dtypes(["number", "bool"]) if name not in result.dataset.coords]
    return SUMMARY.get(result.protocol.name, tuple(measured))


def label_of(result: Result, column: str) -> str:
    return LABELS.get(column, column.replace("_", " ")).format(unit=result.protocol.display.unit)


def draw_panel(ax: Any, result: Result, unit: int, kind: str) -> None:
    if kind == "direction":
        draw_direction(ax, result, unit)
    elif kind == "frequency":
        _draw_frequency(ax, result, unit)
    elif kind in ("on", "off", "noise"):
        draw_field(ax, result, unit, kind)
    else:
        _draw_curve(ax, result, unit)


def draw_direction(ax: Any, result: Result, unit: int) -> None:
    directions, curve = result.values.to_numpy(float), result.arrays["curve"][:, unit]
    angles = np.deg2rad(directions)
    row = result.table.iloc[unit]
    if np.isfinite(row["mu"]):
        fine = np.arange(0, 361, 2.0)
        ax.plot(np.deg2rad(fine), von_mises_curve(fine, *row[["mu", "phi", "k", "A", "u"]].astype(float)), color=BLUE)
    ax.plot(angles, curve, "o", color="black", markersize=3)
    top = np.nanmax(curve) if np.isfinite(curve).any() else 1
    ax.set_rlim(0, max(top, 1e-12) * 1.1)
    ax.set_xticks(np.deg2rad(np.arange(0, 360, 45)))
    ax.tick_params(labelsize=6, pad=-2)
    ax.set_rlabel_position(22.5)


def _draw_frequency(ax: Any, result: Result, unit: int) -> None:
    levels = result.values.levels
    curve = result.arrays["curve"][..., unit]
    image = ax.imshow(curve.T, origin="lower", cmap="magma", aspect="auto", vmin=0)
    ax.set_xticks(range(len(levels[0])), [f"{value:g}" for value in levels[0]])
    ax.set_yticks(range(len(levels[1])), [f"{value:g}" for value in levels[1]])
    ax.set(xlabel=f"spatial frequency (cycles/{result.protocol.display.unit})", ylabel="temporal frequency (Hz)")
    ax.figure.colorbar(image, ax=ax, label=RESPONSE)


def _draw_curve(ax: Any, result: Result, unit: int) -> None:
    name, of_intervals = result.protocol.name, "curve" not in result.arrays
    curve = (result.responses if of_intervals else result.arrays["curve"])[:, unit]
    values = None if of_intervals else result.values
    if values is None or (name not in PANELS and not pd.api.types.is_numeric_dtype(values)):
        ax.plot(range(len(curve)), curve, "o-", color="black", markersize=4, linewidth=0.8)
        if values is not None:
            ax.set_xticks(range(len(curve)), [str(value) for value in values], fontsize=7)
        ax.set(xlabel="interval" if of_intervals else (values.name or "condition"))
    elif name == "surround":
        ax.bar(range(len(curve)), curve, color=GRAY)
        ax.set_xticks(range(len(curve)), list(result.values), fontsize=7)
        ax.set(xlabel="surround")
    else:
        values = result.values.to_numpy(float)
        ax.plot(values, curve, "o-", color="black", markersize=4, linewidth=0.8)
        row = result.table.iloc[unit]
        if name == "contrast" and np.isfinite(row["c50"]):
            fine = np.linspace(0, 1, 101)
            power = fine ** row["exponent"]
            ax.plot(fine, row["r_max"] * power / (power + row["c50"] ** row["exponent"]) + row["base"], color=BLUE)
        unit_of = {"size": f"diameter ({result.protocol.display.unit})", "contrast": "contrast"}
        ax.set(xlabel=unit_of.get(name, result.values.name or "condition"))
    top = np.nanmax(curve) if np.isfinite(curve).any() else 1
    ax.set(ylabel=RESPONSE, ylim=(min(0, np.nanmin(np.nan_to_num(curve))), max(top, 1e-12) * 1.1))
    ax.spines[["top", "right"]].set_visible(False)


def draw_field(ax: Any, result: Result, unit: int, kind: str) -> None:
    display, row = result.protocol.display, result.table.iloc[unit]
    if kind == "noise":
        field, prefix = result.arrays["field"][unit, int(row["best_lag"])], ""
    else:
        field, prefix = result.arrays[kind][unit], f"{kind}_"
    middle = np.nanmedian(field) if np.isfinite(field).any() else 0.0
    reach = np.nanmax(np.abs(field - middle)) if np.isfinite(field).any() else 1.0
    # Pixels where they are in the unit of the display: on a monitor that is seen from near by, rows of them are curved.
    pixels = display.in_blocks(int(result.conditions["check_px"].iloc[0])) if kind == "noise" else display
    x, y = pixels.positions(np.arange(pixels.height)[:, None], np.arange(pixels.width)[None, :])
    limits = {"vmin": middle - reach, "vmax": middle + reach}
    image = ax.pcolormesh(x, y, field, cmap="RdBu_r", shading="nearest", rasterized=True, **limits)
    if np.isfinite(row[f"{prefix}x"]) and row[f"{prefix}fit"] == "good":
        names = ("x", "y", "sigma_major", "sigma_minor", "angle_deg")
        _draw_ellipse(ax, display, *(row[f"{prefix}{name}"] for name in names))
    ax.set(xlabel=f"x ({display.unit})", ylabel=f"y ({display.unit})", aspect="equal", facecolor="#e2e8f0")
    ax.figure.colorbar(image, ax=ax, label=RESPONSE if kind != "noise" else "weighted level", shrink=0.8)


def _draw_ellipse(ax: Any, display: Any, x: float, y: float, major: float, minor: float, angle_deg: float) -> None:
    turn = np.linspace(0, 2 * np.pi, 61)
    angle = np.deg2rad(angle_deg)
    along, across = major * np.cos(turn), minor * np.sin(turn)
    right, up = along * np.cos(angle) - across * np.sin(angle), along * np.sin(angle) + across * np.cos(angle)
    ax.plot(*display.position_beside((x, y), right, up), color="black", linewidth=1)


def draw_positions(ax: Any, result: Result) -> None:
    display = result.protocol.display
    prefixes = {"on_": RED, "off_": BLUE} if "on_x" in result.table else {"": GRAY}
    for prefix, color in prefixes.items():
        if f"{prefix}x" in result.table:
            good = result.table[result.table[f"{prefix}fit"] == "good"]
            label = f"{prefix.strip('_') or 'noise'} ({len(good)})"
            ax.plot(good[f"{prefix}x"], good[f"{prefix}y"], ".", color=color, markersize=4, alpha=0.6, label=label)
    ax.plot(*_outline(display), color=GRAY, linewidth=0.8)
    ax.set(xlabel=f"x ({display.unit})", ylabel=f"y ({display.unit})", aspect="equal")
    ax.set_title("centres of receptive fields", fontsize=9)
    ax.legend(fontsize=6, frameon=False)


def _outline(display: Any) -> tuple[np.ndarray, np.ndarray]:
    """The edge of the monitor."""
    last_row, last_column = display.height - 1, display.width - 1
    along, back = np.linspace(0, 1, 30), np.linspace(1, 0, 30)
    zeros, ones = np.zeros(30), np.ones(30)
    row = np.concatenate([zeros, along, ones, back]) * last_row
    column = np.concatenate([along, ones, back, zeros]) * last_column
    return display.positions(row, column)


def draw_distribution(ax: Any, result: Result, column: str) -> None:
    label, values = label_of(result, column), result.table[column]
    remark = ""
    if not pd.api.types.is_numeric_dtype(values):
        counts = values.value_counts()
        ax.barh(list(counts.index), counts.to_numpy(), color=GRAY)
        ax.set(xlabel="units")
    else:
        good, known = _is_good(result, column), np.isfinite(values.to_numpy(float))
        remark = f", {int((good & known).sum())} of {len(values)}" + ("" if good.all() else " (good fits)")
        shown = values.to_numpy(float)[good & known]
        if column in DISCRETE:
            levels, counts = np.unique(shown, return_counts=True)
            ax.bar(range(len(levels)), counts, color=BLUE)
            ax.set_xticks(range(len(levels)), [f"{level:g}" for level in levels])
        elif len(shown):
            ax.hist(shown, bins=_bins(column, shown), color=BLUE)
            if column not in CIRCULAR:
                ax.axvline(np.median(shown), color=RED, linewidth=1)
        ax.set(xlabel=label, ylabel="units")
    title = f"{result.protocol.name}{remark}" if remark else f"{result.protocol.name}: {label}"
    ax.set_title(title, fontsize=8)
    ax.tick_params(labelsize=7)
    ax.spines[["top", "right"]].set_visible(False)


def _is_good(result: Result, column: str) -> np.ndarray:
    """Units whose fit, if the column comes from one, is good."""
    prefixes = [name.removesuffix("fit") for name in result.table if name == "fit" or name.endswith("_fit")]
    owners = [prefix for prefix in prefixes if column.startswith(prefix) and column not in MEASURED]
    if not owners:
        return np.ones(len(result.table), bool)
    return (result.table[f"{max(owners, key=len)}fit"] == "good").to_numpy()


def _bins(column: str, known: np.ndarray) -> Any:
    if column in ("OSI", "DSI", "gOSI", "gDSI"):
        return np.linspace(0, 1, 26)
    if column in CIRCULAR:
        return np.linspace(0, 180 if column == "pref_ori" else 360, 19)
    low, high = np.percentile(known, [1, 99])  # one wild fit should not squeeze the rest
    return np.linspace(low, high, 26) if high > low else 10
