"""Networks for rows of plain columns."""
