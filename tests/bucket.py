"""A small copy of the public bucket, and a server on this machine that serves it, well or badly.

The layout is the published one: both zips with 13 scans, and the properties, which are computed here from the state
dicts by formulas of their own.
"""

import contextlib
import dataclasses
import hashlib
import http.server
import json
import re
import threading
import time
import urllib.parse
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
from disturbed import small

from fnn_jax.microns import release
from fnn_jax.microns.release import Release, RemoteFile

CONFIG = small(24)
NUM_UNITS = {scan: 20 + index for index, scan in enumerate(release.MICRONS.num_units)}
REAL = release.MICRONS
ZIP = REAL.weights["default"].path
LIST = "list"  # of the files, for the server's faults and log
TABLES = [REAL.properties[group]["units.csv"].path for group in ("performance", "tuning", "anatomy")]


def make(folder: Path) -> None:
    """Write the bucket's files, and ``release.json``, which says what they are."""
    from fnn_jax.convert import to_state_dict, write_published_scan
    from fnn_jax.demo import random_network
    from fnn_jax.model.parameters import is_core, parameter_arrays

    base = parameter_arrays(random_network(CONFIG))
    states = {}
    for tag in REAL.weights:
        for index, (scan, units) in enumerate(NUM_UNITS.items()):
            random = np.random.default_rng(index)
            config = small(units)
            arrays = {name: value if is_core(name) else vary(value, random) for name, value in base.items()}
            for name in arrays:
                if name.startswith("readout.feature."):
                    arrays[name] = random.standard_normal((2, units, *arrays[name].shape[2:])).astype(np.float32) / 2
                elif name.startswith("readout."):
                    arrays[name] = random.standard_normal((units, *arrays[name].shape[1:])).astype(np.float32) / 2
            if tag == "ori-trained":
                arrays["readout.feature.weight"] += 1
            session, scan_idx = map(int, scan.split("-"))
            table = pd.DataFrame({"session": session, "scan_idx": scan_idx, "unit_id": 2 * np.arange(units) + 1})
            write_published_scan(folder / tag, config, arrays, table.rename_axis("readout_id"))
            states[tag, scan] = to_state_dict(config, arrays)
        archive = folder / REAL.weights[tag].path
        archive.parent.mkdir(exist_ok=True)
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zipped:
            inside = "" if tag == "default" else "microns/"  # at the root of one, in a folder of the other
            for path in sorted((folder / tag).iterdir()):
                zipped.write(path, inside + path.name)
    write_properties(folder, {scan: states["default", scan] for scan in NUM_UNITS})
    md5 = hashlib.md5((folder / REAL.weights["default"].path).read_bytes()).hexdigest()
    (folder / "release.json").write_text(json.dumps({"md5": md5}))


def vary(value, random):
    small = 0.05 * random.standard_normal(value.shape) if value.ndim else 0
    return value if value.shape[-1:] == (3,) and value.ndim == 3 else (value + small).astype(value.dtype)


def write_properties(folder, states):
    keys = [
        {"session": int(scan.split("-")[0]), "scan_idx": int(scan.split("-")[1]), "unit_id": 2 * unit + 1}
        for scan, units in NUM_UNITS.items()
        for unit in range(units)
    ]
    table, random = pd.DataFrame(keys), np.random.default_rng(0)
    columns = {
        "performance": ["cc_abs", "cc_max", "cc_norm"],
        "tuning": ["OSI", "DSI", "gOSI", "gDSI", "pref_ori", "pref_dir"],
        "anatomy": ["unit_x", "unit_y", "unit_z"],
        "readout": [],
    }
    for group, names in columns.items():
        own = table.assign(**{name: random.random(len(table)) for name in names})
        if group == "anatomy":
            own["brain_area"] = random.choice(["V1", "LM", "RL", "AL"], len(table))
            own["field"] = random.integers(1, 9, len(table))
        if group == "performance":
            own.loc[5, "cc_max"] = np.nan
            own = own.sample(frac=1, random_state=0)  # the order of rows must not matter
        path = folder / REAL.properties[group]["units.csv"].path
        path.parent.mkdir(parents=True)
        own.to_csv(path, index=False)
    weights = [np.concatenate([s[f"readout.feature.weights.{i}"][:, 0] for i in range(2)], 1) for s in states.values()]
    np.save(folder / REAL.properties["readout"]["readout_weights.npy"].path, np.concatenate(weights))
    np.save(
        folder / REAL.properties["readout"]["readout_locations.npy"].path,
        np.concatenate([locations(s) for s in states.values()]).astype(np.float32),
    )


def locations(state):
    """Monitor coordinates of the readout positions through the default eye, in plain NumPy, unit by unit.

    Core position -> angles on the retina -> ray -> rotated eye -> monitor plane -> coordinates of the stimulus.
    """

    def layer(number, value, normal):
        weight = np.float64(state[f"perspective.mlp.linears.{number}.weights.0"][:, :, 0, 0, 0])
        if normal:
            weight = weight - weight.mean(1, keepdims=True)
            weight /= np.sqrt((weight**2).mean(1, keepdims=True) * weight.shape[1] + 1e-5)
            weight *= state[f"perspective.mlp.linears.{number}.gains.0"].reshape(-1, 1)
        return weight @ value + state[f"perspective.mlp.linears.{number}.biases.0"].reshape(-1)

    def gelu(values):
        from math import erf

        return np.array([0.5 * v * (1 + erf(v / 2**0.5)) for v in values]) * 1.7015043497085571

    def rotation(angles):
        (a, b, c), matrix = angles, np.eye(3)
        for axis, angle in enumerate((a, b, c)):
            i, j = [(1, 2), (2, 0), (0, 1)][axis]
            turn = np.eye(3)
            turn[i, i] = turn[j, j] = np.cos(angle)
            turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
            matrix = turn @ matrix
        return matrix

    layers = CONFIG.perspective.mlp_layers
    value = np.zeros(CONFIG.perspective.eye_features)
    for number in range(layers + 1):
        value = layer(number, value, number > 0)
        value = gelu(value) if number < layers else value
    eye = rotation(value)
    monitor = rotation(np.float64(state["perspective.monitor.angle"]))
    center = np.float64(state["perspective.monitor.center"])
    height, width = CONFIG.perspective.height, CONFIG.perspective.width
    image_height, image_width = CONFIG.stimulus_height, CONFIG.stimulus_width
    result = []
    for x, y in np.tanh(np.float64(state["readout.position.mu"])):
        row = ((y + 1) * height - 1) / 2  # of the retina, counted from its first row of pixels
        y = (2 * row / (height - 1) - 1) * (height / width) * (width - 1) / width
        eccentricity, direction = np.hypot(x, y) * np.deg2rad(CONFIG.perspective.max_angle_deg), np.arctan2(y, x)
        ray = [np.sin(eccentricity) * np.cos(direction), np.sin(eccentricity) * np.sin(direction), np.cos(eccentricity)]
        ray = eye @ ray
        point = (monitor[:, 2] @ center) / (monitor[:, 2] @ ray) * ray - center
        scale = image_width / (image_width - 1)
        gx = point @ monitor[:, 0] * scale * (width - 1) / width
        gy = point @ monitor[:, 1] * image_width / image_height * scale * (height - 1) / height
        result.append((gx, gy))
    return np.array(result)


def as_release(folder: Path, base_url: str) -> Release:
    md5 = json.loads((folder / "release.json").read_text())["md5"]
    weights = {tag: RemoteFile(file.path, file.checksum and f"md5:{md5}") for tag, file in REAL.weights.items()}
    return Release(
        base_url=base_url,
        animal_id=REAL.animal_id,
        num_units=NUM_UNITS,
        weights=weights,
        properties=REAL.properties,
        property_weights=REAL.property_weights,
        architecture=small,
    )


def cut(folder: Path, num_units: dict[str, int], **changes) -> Release:
    """The release of some of the scans alone; the tables and arrays of all units in the folder are cut to these."""
    few = dataclasses.replace(as_release(folder, ""), num_units=num_units, **changes)
    for files in few.properties.values():
        table = pd.read_csv(folder / files["units.csv"].path)
        wanted = [f"{s}-{i}" in num_units for s, i in zip(table.session, table.scan_idx, strict=True)]
        table[wanted].to_csv(folder / files["units.csv"].path, index=False)
        for name in set(files) - {"units.csv"}:
            np.save(folder / files[name].path, np.load(folder / files[name].path)[wanted])
    return few


def use(folder, base_url: str) -> None:
    """Make this process take the bucket for the published one; for subprocesses."""
    from fnn_jax.microns import downloads

    release.MICRONS = as_release(Path(folder), base_url)
    downloads.WAITS_S = (0.01,) * 5


class Server(http.server.ThreadingHTTPServer):
    """Serves a folder like the public bucket: entity tags, ranges, ``If-Range``.

    ``faults`` holds, per path, what goes wrong with the next requests, in order:
    ``("cut", n)`` closes after n bytes of the body; ``("status", code)``; ``("longer", n)`` promises n bytes too many;
    ``("slow", seconds)`` sends the body in ten pieces; ``("stall", seconds)`` stops in the middle; ``("no range",)``
    sends everything; ``("stale",)`` sends the part asked for, of another version; ``("instead", data)`` sends other data;
    ``("no length",)`` does not say how much.

    The root lists files like the list API of S3, ``page_size`` at a time; faults of it have the path ``LIST``, and of
    ``pieces`` the entity tags are those of files that were put there in several pieces.
    """

    page_size = 1000
    pieces: tuple[str, ...] = ()

    daemon_threads = True

    def __init__(self, folder: Path):
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder, self.faults, self.log = Path(folder), {}, []
        self.base_url = f"http://127.0.0.1:{self.server_address[1]}/data/"

    @classmethod
    @contextlib.contextmanager
    def serving(cls, folder):
        with cls(folder) as server:
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
            thread.start()
            try:
                yield server
            finally:
                server.shutdown()
                thread.join()

    @property
    def requested(self) -> list[str]:
        """Names of the files that were asked for, one after the other."""
        return [name for name, _, _ in self.log]

    def handle_error(self, request, client_address):
        pass  # clients hang up


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def _list(self):
        query = dict(urllib.parse.parse_qsl(self.path.partition("?")[2]))
        fault, *value = (self.server.faults.get(LIST) or [(None,)]).pop(0)
        self.server.log.append((LIST, query.get("continuation-token"), value[0] if fault == "status" else 200))
        if fault == "status":
            self.send_error(value[0])
            return
        folder, prefix = self.server.folder, query["prefix"].removeprefix("data/")
        names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        names = [name for name in names if name.startswith(prefix)]
        first = int(query.get("continuation-token", 0))
        entries = [f"<Contents><Key>data/{prefix}</Key><Size>0</Size></Contents>"] if not first else []  # the folder's
        for name in names[first : first + self.server.page_size]:
            data = (folder / name).read_bytes()
            tag = hashlib.md5(data).hexdigest() + ("-2" if name in self.server.pieces else "")
            size = f"<Size>{len(data)}</Size>"
            entries.append(f"<Contents><Key>data/{name}</Key><ETag>&quot;{tag}&quot;</ETag>{size}</Contents>")
        following = first + self.server.page_size
        more = following < len(names)
        token = f"<NextContinuationToken>{following}</NextContinuationToken>" if more else ""
        name_space = "http://s3.amazonaws.com/doc/2006-03-01/"
        body = (
            f'<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="{name_space}">'
            f"<IsTruncated>{str(more).lower()}</IsTruncated>{token}{''.join(entries)}</ListBucketResult>"
        ).encode()
        body = value[0] if fault == "instead" else body
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path.startswith("/?"):
            self._list()
            return
        name = urllib.parse.unquote(self.path).removeprefix("/data/")
        faults = self.server.faults.get(name, [])
        fault, *value = faults.pop(0) if faults else (None,)
        path = self.server.folder / name
        data = path.read_bytes() if path.is_file() else None
        etag = f'"{hashlib.md5(data).hexdigest()}"' if data is not None else None
        if fault == "instead":
            data, etag = value[0], '"other"'
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start = int(wanted[1]) if wanted else 0
        stop = int(wanted[2]) + 1 if wanted and wanted[2] else None  # None: to the end
        if self.headers.get("If-Range") not in (None, etag) and fault != "stale":
            start = 0
        if fault == "no range":
            start, stop = 0, None
        if fault == "stale":
            etag = '"newer"'
        code = 404 if data is None else value[0] if fault == "status" else 206 if start or stop else 200
        if code in (200, 206) and start >= len(data) > 0:
            code = 416
        self.server.log.append((name, self.headers.get("Range"), code))
        if code not in (200, 206):
            self.send_error(code)
            return
        body = data[start:stop]
        self.send_response(code)
        self.send_header("ETag", etag)
        if fault != "no length":
            self.send_header("Content-Length", str(len(body) + (value[0] if fault == "longer" else 0)))
        if code == 206:
            self.send_header("Content-Range", f"bytes {start}-{start + len(body) - 1}/{len(data)}")
        self.end_headers()
        if fault == "cut":
            body = body[: value[0]]
        if fault in ("slow", "stall"):
            size = max(1, len(body) // 10)
            for index, first in enumerate(range(0, len(body), size)):
                self.wfile.write(body[first : first + size])
                self.wfile.flush()
                time.sleep(value[0] if fault == "slow" or index == 4 else 0)
        else:
            self.wfile.write(body)
        self.close_connection = True
