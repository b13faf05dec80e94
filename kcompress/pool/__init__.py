"""Filters of the label pool (Kuchen paper, section 4.2), one file each, and groups of them."""

from kcompress.pool.filters import FILTERS, Filter, FilterContext, FilterType, filter_named
from kcompress.pool.groups import IDENTITY, Group, groups
from kcompress.pool.guetzli import GuetzliLimits

__all__ = [
    "FILTERS", "IDENTITY", "Filter", "FilterContext", "FilterType", "Group", "GuetzliLimits", "filter_named", "groups",
]  # fmt: skip
