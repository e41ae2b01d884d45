"""Settings of the whole suite."""

from hypothesis import settings

# A loaded machine is no defect: examples have no time limit.
settings.register_profile("videosieve", deadline=None)
settings.load_profile("videosieve")
