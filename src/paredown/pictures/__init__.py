"""The result of a search as a picture, and as a page that a browser opens without a network."""

from paredown.pictures.interactive import front_page
from paredown.pictures.still import front_picture

__all__ = ["front_page", "front_picture"]
