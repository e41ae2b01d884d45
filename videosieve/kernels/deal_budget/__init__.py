"""A budget of query–key pairs, dealt over pairs of clusters."""

from videosieve.kernels.deal_budget.api import IMPLEMENTATIONS, deal_budget

__all__ = ["IMPLEMENTATIONS", "deal_budget"]
