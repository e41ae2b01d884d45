"""Videos of an evaluation that is not finished: one file a batch, so that the same command goes on after a kill.

The frames are kept exactly, because the judge looks at them again; the files go when the scores are written.
"""

import json
from pathlib import Path
from typing import Any

import torch

from videosieve.errors import OutputError
from videosieve.fields import checked
from videosieve.files import name_differences, open_tensors, sweep, write_tensors
from videosieve.generation.media import make_folder


class FinishedBatches:
    """The batches of videos of one set of captions; `videosieve.judging.evaluate` looks here first.

    Args:
        folder: Where the files lie; made with the first of them.
        name: Of the set.
        settings: What decides the frames, plain data.

    Raises:
        OutputError: The folder holds videos of other settings.
    """

    def __init__(self, folder: Path, name: str, settings: dict[str, Any]) -> None:
        self.folder = folder
        self.name = name
        self._settings = json.loads(json.dumps(settings))
        for path in self._files():
            self._read(path)  # of other settings: said before anything is made

    def find(self, first: int) -> torch.Tensor | None:
        """The frames of the batch that begins with this caption, or None."""
        path = self._path(first)
        return self._read(path) if path.exists() else None

    def keep(self, first: int, frames: torch.Tensor) -> None:
        """Write the frames of a batch; on disk when this returns.

        Raises:
            OutputError: The system refused to write; earlier batches are intact.
        """
        make_folder(self.folder)
        write_tensors(self._path(first), {"frames": frames}, {"settings": json.dumps(self._settings)})

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob(f"{self.name}-*.safetensors"))

    def _path(self, first: int) -> Path:
        return self.folder / f"{self.name}-{first}.safetensors"

    def _read(self, path: Path) -> torch.Tensor:
        try:
            with open_tensors(path, "settings", "the finished batch", OutputError) as (file, theirs):
                frames = file.get_tensor("frames")
            theirs = checked("its settings", theirs, dict[str, Any], OutputError)
        except OutputError as error:
            raise OutputError(
                f"{str(path)!r} is damaged ({error}); delete it to have its videos made again"
            ) from None
        if theirs != self._settings:
            raise OutputError(
                f"{str(self.folder)!r} holds an interrupted evaluation with other settings "
                f"({name_differences(theirs, self._settings)}); repeat them to go on with it, delete the folder "
                f"to begin anew, or choose another output"
            )
        return frames


def clear_batches(folder: Path) -> None:
    """Delete the batches of all sets, and the folder if nothing else is in it."""
    sweep(folder)
    for path in folder.glob("*-*.safetensors"):
        path.unlink()
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
