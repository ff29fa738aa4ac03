"""NWB files made by pynwb from the arguments of ``from_arrays``."""

import datetime

import numpy as np
from pynwb import NWBHDF5IO, NWBFile, TimeSeries
from pynwb.base import ImageReferences, Images
from pynwb.behavior import EyeTracking, PupilTracking, SpatialSeries
from pynwb.image import GrayscaleImage, ImageSeries, IndexSeries
from pynwb.ophys import Fluorescence, ImageSegmentation, OpticalChannel, RoiResponseSeries

START = datetime.datetime(2024, 5, 1, 12, tzinfo=datetime.UTC)


def empty(**options):
    options = {"session_start_time": START, "session_description": "made for a test", "identifier": "test", **options}
    return NWBFile(**options)


def add_responses(file, values, name="Deconvolved", areas="V1", **clock):
    number = len(file.imaging_planes)
    device = file.devices.get("microscope") or file.create_device("microscope")
    channel = OpticalChannel(name="green", description="GCaMP", emission_lambda=510.0)
    plane = file.create_imaging_plane(
        name=f"plane{number}",
        optical_channel=channel,
        description="a plane",
        device=device,
        excitation_lambda=920.0,
        indicator="GCaMP6s",
        location=areas,
        imaging_rate=7.1,
    )
    if "ophys" not in file.processing:
        module = file.create_processing_module("ophys", "imaging")
        module.add(ImageSegmentation())
        module.add(Fluorescence())
    module = file.processing["ophys"]
    table = module["ImageSegmentation"].create_plane_segmentation(
        name=f"segmentation{number}", description="somata", imaging_plane=plane
    )
    table.add_column("depth_um", "below the surface")
    for unit in range(values.shape[1]):
        table.add_roi(id=100 + unit, pixel_mask=[(unit, 1, 1.0)], depth_um=200.0 + unit)
    rois = table.create_roi_table_region(region=list(range(values.shape[1])), description="all")
    series = RoiResponseSeries(name=name, data=values, rois=rois, unit="n.a.", **clock)
    module["Fluorescence"].add_roi_response_series(series)


def add_behaviour(file, arguments, names=("pupil_position", "pupil_radius", "treadmill_velocity")):
    """Eye in meters on timestamps, treadmill in m/s."""
    module = file.create_processing_module("behavior", "eye and treadmill")
    if "pupil_position" in names:
        values, times = arguments["pupil_position"]
        eye = SpatialSeries(
            name="pupil_position", data=1e-4 * values, unit="meters", timestamps=times, reference_frame="camera"
        )
        module.add(EyeTracking(spatial_series=eye))
    if "pupil_radius" in names:
        values, times = arguments["pupil_radius"]
        radius = TimeSeries(name="pupil_radius", data=1e-4 * values, unit="meters", timestamps=times)
        module.add(PupilTracking(time_series=radius))
    if "treadmill_velocity" in names:
        values, times = arguments["treadmill_velocity"]
        rate = 1 / np.diff(times).mean()
        module.add(
            TimeSeries(
                name="treadmill_velocity",
                data=0.01 * values[:, None],
                unit="m/s",
                starting_time=times[0],
                rate=rate,
                conversion=2.0,
            )
        )


def add_trials(file, table):
    file.add_trial_column("clip", "what was shown")
    for row in table.itertuples():
        file.add_trial(start_time=row.start, stop_time=row.stop, clip=row.clip)


def add_spikes(file, spikes):
    file.add_unit_column("area", "of the cortex")
    for times in spikes:
        file.add_unit(spike_times=times, area="V1")


def series(data, times, name="movie"):
    return ImageSeries(name=name, data=data, unit="n.a.", timestamps=times)


def full(arguments):
    """A file with everything that ``from_arrays`` was given."""
    file = empty()
    values, times = arguments["responses"]
    add_responses(file, values, starting_time=times[0], rate=1 / np.diff(times).mean())
    add_behaviour(file, arguments)
    file.add_stimulus(series(*arguments["stimulus"]))
    add_trials(file, arguments["trials"])
    return file


def indexed(file, arguments, by_images):
    """The stimulus as indices of its different frames."""
    values, times = arguments["stimulus"]
    unique, back = np.unique(values, axis=0, return_inverse=True)
    back = back.reshape(-1).astype(np.uint32)
    if by_images:
        frames = [GrayscaleImage(name=str(n), data=frame) for n, frame in enumerate(unique)]  # a file sorts the names
        order = ImageReferences(name="order_of_images", data=frames)
        images = Images(name="frames", images=frames, order_of_images=order)
        file.add_stimulus_template(images)
        shown = IndexSeries(name="shown", data=back, unit="N/A", indexed_images=images, timestamps=times)
    else:
        templates = ImageSeries(name="frames", data=unique, unit="n.a.", rate=30.0)
        file.add_stimulus_template(templates)
        shown = IndexSeries.__new__(IndexSeries, in_construct_mode=True)  # pynwb reads such files, and makes none
        shown.__init__(name="shown", data=back, unit="N/A", indexed_timeseries=templates, timestamps=times)
        shown._in_construct_mode = False
    file.add_stimulus(shown)


def write(file, path):
    with NWBHDF5IO(path, "w") as io:
        io.write(file)
    return path
