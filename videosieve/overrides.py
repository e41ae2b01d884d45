"""What changes a recipe by keyword, for type checkers: a misspelt option is found before anything runs."""

from typing import Any, TypedDict


class Overrides(TypedDict, total=False):
    """What changes a recipe: fields of its method, keys of its schedule, and its own.

    Of all methods of the library; what a method does not have is refused with the nearest name. A method of your own is
    given as an object, `MyMethod(…)`, whose fields its class types.
    """

    dense_steps: float | int
    dense_layers: float | int
    reuse_range: int
    reuse_start: float
    reuse_stop: float
    reuse_cross: int
    reuse_mlp: int
    reuse_mlp_layers: float | int
    reuse_offset: int
    plan: Any
    min_tokens: int
    shared_selection: bool
    compensate: str
    token_order: str
    prefer: str
    family: str
    block: int | None
    blocks: int
    budget: float | None
    causal: bool
    centroids: bool
    columns: int
    decay: float
    decay_thins: bool
    density: float | None
    first: int
    first_frame_sink: bool
    first_frames: int
    first_iterations: int
    head_adaptive: bool
    head_patterns: Any
    head_thresholds: Any
    head_windows: Any
    keep_first: bool
    kernel: str | None
    key_clusters: int | None
    last: int
    min_share: float
    order: str
    pattern: str
    profile: str
    profile_rows: float | int
    query_clusters: int | None
    rank: str
    recall_split: float
    reference_frames: int
    residual: bool
    rows: int
    scope: str
    search_steps: tuple[float | int, ...]
    search_stride: int | None
    seed: int
    shape: str
    similarity: float | None
    sink: bool
    slashes: int
    space: str
    step_iterations: int
    stride: int
    threshold: float | None
    tile: tuple[int, int, int] | None
    widths: str
    window: Any
