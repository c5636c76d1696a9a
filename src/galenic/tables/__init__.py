"""Plain columns: numbers and categories of one row a case."""
