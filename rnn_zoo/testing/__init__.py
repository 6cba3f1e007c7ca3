"""The laws of this library's cells, for the cells of anybody: `rz.testing.check_cell(make)`."""

from .._common.moved import listing as _listing
from ..registry import unregister as unregister
from .checking import (
    BoundLaw as BoundLaw,
    BrokenLaws as BrokenLaws,
    Finding as Finding,
    Report as Report,
    check_cell as check_cell,
    laws as laws,
)


__dir__ = _listing(__name__)
