"""To and from other libraries."""

from .._common.moved import listing as _listing, moved as _moved
from .._common.old_names import INTEROP as _OLD
from ._programs import exported_state as exported_state
from .adopting import Adopted as Adopted
from .arrays import (
    lru_from_arrays as lru_from_arrays,
    rglru_from_arrays as rglru_from_arrays,
    s5_from_arrays as s5_from_arrays,
)
from .blocks import (
    griffin_block_from_arrays as griffin_block_from_arrays,
    lru_block_from_arrays as lru_block_from_arrays,
    mamba_block_from_arrays as mamba_block_from_arrays,
    mamba_from_arrays as mamba_from_arrays,
    rglru_block_from_arrays as rglru_block_from_arrays,
    s5_block_from_arrays as s5_block_from_arrays,
)
from .fla_layers import from_fla as from_fla
from .flax_layers import from_flax as from_flax
from .keras_layers import from_keras as from_keras
from .mamba2_arrays import (
    mamba2_block_from_arrays as mamba2_block_from_arrays,
    mamba2_from_arrays as mamba2_from_arrays,
)
from .ncps import from_ncps as from_ncps
from .onnx import to_onnx as to_onnx
from .rwkv7_arrays import rwkv7_from_arrays as rwkv7_from_arrays
from .safetensors_files import (
    load_safetensors as load_safetensors,
    save_safetensors as save_safetensors,
)
from .stablehlo import to_stablehlo as to_stablehlo
from .torch_layers import from_torch as from_torch, to_torch as to_torch
from .transformers_models import (
    LanguageModel as LanguageModel,
    from_transformers as from_transformers,
)
from .xlstm_arrays import (
    xlstm_block_from_arrays as xlstm_block_from_arrays,
    xlstm_from_arrays as xlstm_from_arrays,
)


__getattr__ = _moved(__name__, _OLD)
__dir__ = _listing(__name__)
