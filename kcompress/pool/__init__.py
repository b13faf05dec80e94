"""Filters of the label pool (Kuchen paper, section 4.2), one file each, and groups of them."""

from kcompress.pool.filters import FILTERS, Filter, FilterContext, FilterType, Parameter, filter_named
from kcompress.pool.groups import IDENTITY, Group, group_named, groups
from kcompress.pool.guetzli import GuetzliLimits

__all__ = [
    "FILTERS", "IDENTITY", "Filter", "FilterContext", "FilterType", "Group", "GuetzliLimits", "Parameter",
    "filter_named", "group_named", "groups",
]  # fmt: skip
