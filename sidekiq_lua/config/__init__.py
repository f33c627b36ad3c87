"""Settings, checked when they are set and frozen once the worker runs."""

from .capsules import Capsule
from .settings import Config

__all__ = ["Capsule", "Config"]
