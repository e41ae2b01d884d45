"""Ulysses context parallelism: one video over several devices, every one of which attends to some of the heads."""

from videosieve.integrations.diffusers.ulysses.dealer import Dealer, Order, read_deal
from videosieve.integrations.diffusers.ulysses.share import Share, attend_ulysses, read_share, with_heads

__all__ = ["Dealer", "Order", "Share", "attend_ulysses", "read_deal", "read_share", "with_heads"]
