"""To and from other libraries."""

from .adopt import Adopted as Adopted, adopt as adopt
from .ncps import from_ncps as from_ncps
