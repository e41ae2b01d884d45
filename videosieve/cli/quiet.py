"""Lines of other packages that say nothing to whoever typed a command; the library itself leaves them alone."""

import logging

FOREIGN = {
    # diffusers imports an image processor of transformers by the name whose fast form needs torchvision; the other
    # form is what it gets, and it does the same.
    "transformers.utils.import_utils": ("requires torchvision (not installed); falling back to",),
}


class _Unsaid(logging.Filter):
    def __init__(self, parts: tuple[str, ...]) -> None:
        super().__init__()
        self.parts = parts

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a line is to be shown."""
        return not any(part in record.getMessage() for part in self.parts)


def leave_unsaid() -> None:
    """Keep exactly the lines of `FOREIGN` from the terminal; every other line of the same loggers is shown."""
    for name, parts in FOREIGN.items():
        logger = logging.getLogger(name)
        if not any(isinstance(one, _Unsaid) for one in logger.filters):
            logger.addFilter(_Unsaid(parts))
