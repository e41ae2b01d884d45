"""The errors a caller can meet, drawn as a tree.

VideosieveError (a ValueError)
├── ShapeError        tensors, layouts or masks that do not fit together
├── RecipeError       an unknown method, an unknown key, a value outside its range
├── BackendError      no implementation can run a kernel call; the message says why, one by one
├── IntegrationError  a pipeline or transformer that cannot be made sparse, or lost its hooks
├── ModelError        a model folder that is missing, unreadable or of another kind
├── PromptError       words that a closed-vocabulary model does not know
├── MetricError       a metric whose weights or program this machine lacks
├── PluginError       a plug-in that cannot be imported, or registers what cannot be used
├── OutputError       a file that cannot be written or would be overwritten
└── NumericsError     NaN or infinity where finite numbers were promised

VideosieveWarning (a UserWarning): a run did not do what its recipe means.

Every message states what must hold, the values that were met, and the way out, in one line.
"""


class VideosieveError(ValueError):
    """Base class of every error that videosieve raises on purpose."""


class VideosieveWarning(UserWarning):
    """Something ran otherwise than the recipe means it; `Run.warnings` has the same sentences."""


class ShapeError(VideosieveError):
    """Tensors, layouts or masks do not fit together."""


class RecipeError(VideosieveError):
    """A method, schedule or recipe is unknown or has a value outside its range."""


class BackendError(VideosieveError):
    """No implementation of a kernel can run this call."""


class PluginError(VideosieveError):
    """A plug-in cannot be imported, or registers what cannot be used."""


class IntegrationError(VideosieveError):
    """A pipeline or transformer cannot be made sparse, or its hooks no longer work."""


class ModelError(VideosieveError):
    """A model folder is missing, unreadable or holds something else."""


class PromptError(VideosieveError):
    """A prompt uses words that the model's closed vocabulary lacks."""


class MetricError(VideosieveError):
    """A metric needs weights or a program that this machine lacks, or that do not fit."""


class OutputError(VideosieveError):
    """A result cannot be written where it was asked to go."""


class NumericsError(VideosieveError):
    """A tensor holds NaN or infinity where finite numbers were promised."""
