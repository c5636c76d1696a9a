"""The kinds number and category: the door of this room."""

from __future__ import annotations

from galenic.tables.category import CATEGORY, Category
from galenic.tables.number import NUMBER, Number

__all__ = ["CATEGORY", "NUMBER", "Category", "Number"]
