"""How many operations is a frame? Multiplications and additions of the formulas, each counted as one.

Convolutions are counted as they are defined (the faster formulations make fewer), the map between groups with the zeros
on its diagonal. What is no matrix product (nonlinearities, sampling, softmax, the perspective) is not counted.
"""


def operations(config):
    """Operations a frame and video by part, all streams together, as ``stage.part``."""
    feedforward, recurrent = config.feedforward, config.recurrent
    counts = {"feedforward.maps": 0}
    height = config.perspective.height // feedforward.input_stride
    width = config.perspective.width // feedforward.input_stride
    inputs, taps = config.stimulus_channels, feedforward.input_kernel**2
    for index, channels in enumerate(feedforward.channels):
        groups, layers = feedforward.groups[index], feedforward.layers[index]
        positions = height * width
        counts["feedforward.maps"] += taps * inputs * channels * positions
        kernel = feedforward.temporal_kernels[index] * feedforward.spatial_kernels[index] ** 2
        skips = layers * (layers - 1) // 2  # layer l maps the outputs of l layers
        counts[f"feedforward.block{index}"] = (kernel * layers + skips) * channels**2 // groups * positions
        inputs, taps = (layers + 1) * channels, 1
        height, width = height // feedforward.pools[index], width // feedforward.pools[index]

    positions = height * width
    counts["feedforward.maps"] += inputs * feedforward.out_channels * positions
    inner, hidden, common = recurrent.in_channels, recurrent.hidden_channels, recurrent.common_channels
    groups = recurrent.groups
    counts |= {
        "recurrent.maps": (feedforward.out_channels + hidden) * inner * positions,
        "recurrent.convolution": recurrent.kernel**2 * (inner + hidden) * common // groups * positions,
        "recurrent.query_key_value": 3 * common * common // groups * positions,
        "recurrent.attention": 2 * positions * positions * common,
        "recurrent.gates": 4 * 2 * common * hidden // groups * positions,
        "recurrent.out": hidden * recurrent.out_channels * positions,
        "readout": recurrent.out_channels * config.num_units,
    }
    return {part: 2 * config.num_streams * count for part, count in counts.items()}


def by_stage(counts):
    """The sums of ``feedforward``, ``recurrent`` and ``readout``."""
    stages = {}
    for part, count in counts.items():
        stage = part.split(".")[0]
        stages[stage] = stages.get(stage, 0) + count
    return stages
