"""Architectures for pictures and volumes, one file each, named as the field names them."""
