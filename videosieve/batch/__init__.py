"""Many prompts: read them, work through them with a resumable manifest, on one device, several, or a Ray cluster."""

from videosieve.batch.executors import EXECUTORS
from videosieve.batch.jobs import Job, Order
from videosieve.batch.prompts import read_prompts
from videosieve.batch.run import BatchSummary, run_batch
from videosieve.batch.vbench import read_vbench_prompts

__all__ = ["EXECUTORS", "BatchSummary", "Job", "Order", "read_prompts", "read_vbench_prompts", "run_batch"]
