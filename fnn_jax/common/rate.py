"""The rate of frames, everywhere."""

HZ = 30  # of the network, of stimuli, of recordings
