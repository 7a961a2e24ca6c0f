"""Image formats: recognized by their headers, followed down their chains. Pure."""

from supervisor.stord.formats.chain import Layer, Opened, resolve_chain
from supervisor.stord.formats.header import read_image, read_image_as
from supervisor.stord.formats.image import HEADER_BYTES, ImageFacts

__all__ = [
    "HEADER_BYTES",
    "ImageFacts",
    "Layer",
    "Opened",
    "read_image",
    "read_image_as",
    "resolve_chain",
]
