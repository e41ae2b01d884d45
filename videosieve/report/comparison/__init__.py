"""What the page of a comparison shows: medians with intervals, the table, plots over all videos, and single scenes."""
