"""To and from other libraries."""

from .adopt import Adopted as Adopted, adopt as adopt
