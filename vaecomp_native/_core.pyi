from collections.abc import Callable, Sequence
from mmap import mmap
from typing import Any

import numpy as np
import numpy.typing as npt

__version__: str
format_version: int

_Array = npt.NDArray[Any]
_Float32 = npt.NDArray[np.float32]
_Int8 = npt.NDArray[np.int8]
_Int32 = npt.NDArray[np.int32]
_UInt8 = npt.NDArray[np.uint8]
_QuantizedTensor = tuple[
    _Int32,
    float,
    int,
    _Int8 | None,
    _UInt8 | None,
    _Int8 | None,
    _UInt8 | None,
    tuple[int, _Float32] | None,
]
# (values, predicted, level, row levels, column levels)
_DifferenceTensor = tuple[_Array, _Array, int, _UInt8 | None, _UInt8 | None]
# (latents, segments (length, first symbol, frequencies), groups (decoder's layers, chunk length,
# slices (first, count), tensors, positions [chunks, numbers])).
_Fleet = tuple[
    int,
    list[tuple[int, int, list[int]]],
    list[tuple[list[tuple[_Array, ...]], int, list[tuple[int, int]], list[int], _Int8]],
]
_Buffer = bytes | bytearray | memoryview | mmap

def available_isas() -> list[str]: ...
def isa() -> str: ...
def set_isa(name: str) -> None: ...
def dtype_names() -> list[str]: ...
def dtype_name(dtype: np.dtype[Any]) -> str: ...
def numpy_dtype(name: str) -> np.dtype[Any]: ...
def flatten_chunk(
    tensors: Sequence[_Array], chunk_length: int, out: _Float32 | None = None, threads: int = 0
) -> tuple[_Float32, int]: ...
def unchunk(
    chunks: _Float32,
    specs: Sequence[tuple[Sequence[int], np.dtype[Any]]],
    out: Sequence[_Array] | None = None,
    threads: int = 0,
) -> list[_Array]: ...
def noise_variants(
    base: _Float32,
    count: int,
    probability: float,
    sigma: float,
    seed: int,
    first_variant: int = 0,
    first_index: int = 0,
    out: _Float32 | None = None,
    threads: int = 0,
) -> _Float32: ...
def crc32c(data: _Buffer) -> int: ...
def digests(arrays: Sequence[_Array], threads: int = 0) -> list[int]: ...
def encode_symbols(symbols: _Int32, segments: Sequence[int], lanes: int = 0) -> bytes: ...
def decode_symbols(data: _Buffer, threads: int = 0, out: _Int32 | None = None) -> _Int32: ...
def encode_integer_decoder(
    layers: Sequence[tuple[_Array, ...]], segments: Sequence[Sequence[int]]
) -> bytes: ...
def encode_float32_decoder(layers: Sequence[tuple[_Array, ...]]) -> bytes: ...
def encode_int8_latents(
    decoder_section: int, chunk_length: int, padding: int, latents: _Int8, segments: Sequence[int]
) -> bytes: ...
def encode_float32_latents(
    decoder_section: int, chunk_length: int, padding: int, latents: _Float32
) -> bytes: ...
def encode_quantized(
    base: int, tensors: Sequence[_QuantizedTensor], tables: int = 256
) -> bytes: ...
def encode_differences(
    base: int, detail: int, tensors: Sequence[_DifferenceTensor], tables: int = 256
) -> bytes: ...
def encode_lossless(arrays: Sequence[_Array], threads: int = 0) -> bytes: ...
def feedback_quantize(
    values: _Float32,
    order: npt.NDArray[np.uint32] | None,
    feedback: _Float32 | None,
    curvature: _Float32,
    row_weights: _Float32,
    row_scales: _Float32,
    column_scales: _Float32,
    rate_weight: float,
    bits: _Float32,
    first: int,
    row_tables: _UInt8,
    threads: int,
) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.uint64]]: ...
def largest_level(
    values: _Float32, row_scales: _Float32, column_scales: _Float32, threads: int
) -> float: ...
def symbol_extent(symbols: Sequence[_Array]) -> tuple[int, int, float]: ...
def fit_contexts(
    symbols: Sequence[_Array],
    frequencies: npt.NDArray[np.float64],
    first: int,
    rounds: int,
    threads: int,
) -> tuple[
    list[tuple[int, _UInt8 | None, _UInt8 | None]],
    npt.NDArray[np.uint64],
    npt.NDArray[np.uint64],
]: ...
def encode_fleet(
    segments: Sequence[tuple[int, int, Sequence[int]]],
    groups: Sequence[tuple[int, int, Sequence[tuple[int, int]], Sequence[int], _Int8]],
) -> bytes: ...
def section_crc(kind: str, data: _Buffer) -> int: ...
def write_front(
    metadata: Sequence[tuple[str, str]],
    sections: Sequence[tuple[str, int, int]],
    tensors: Sequence[tuple[Any, ...]],
) -> tuple[bytes, list[int], int]: ...
def write_archive(
    metadata: Sequence[tuple[str, str]],
    sections: Sequence[tuple[str, _Buffer]],
    tensors: Sequence[tuple[Any, ...]],
) -> bytes: ...

class IntegerDecoder:
    def __init__(self, layers: Sequence[tuple[_Array, ...]]) -> None: ...
    def forward(
        self, latents: _Int8, out: _Float32 | None = None, threads: int = 0
    ) -> _Float32: ...

class Float32Decoder:
    def __init__(self, layers: Sequence[tuple[_Array, ...]]) -> None: ...
    def forward(
        self, latents: _Float32, out: _Float32 | None = None, threads: int = 0
    ) -> _Float32: ...

def archive_bytes(header: _Buffer) -> int: ...

class ArchiveReader:
    def __init__(
        self,
        data: _Buffer,
        verify: bool = True,
        threads: int = 0,
        pack: ArchiveReader | None = None,
    ) -> None: ...
    @staticmethod
    def from_file(
        path: str | bytes, verify: bool = True, threads: int = 0, pack: ArchiveReader | None = None
    ) -> ArchiveReader: ...
    @staticmethod
    def from_function(
        size: int,
        request_bytes: int,
        read: Callable[[int, int], _Buffer],
        verify: bool = True,
        threads: int = 0,
        pack: ArchiveReader | None = None,
    ) -> ArchiveReader: ...
    def hash(self) -> bytes: ...
    def pack_hash(self) -> bytes | None: ...
    @property
    def version(self) -> int: ...
    def tensors(
        self,
    ) -> list[tuple[str, tuple[int, ...], np.dtype[Any], str, int | None, int]]: ...
    def metadata(self) -> dict[str, str]: ...
    def accounting(self) -> dict[str, int]: ...
    def chunks(self) -> list[tuple[int, int, int, int]]: ...
    def decode(self, parts: Sequence[tuple[int, int, _Array]]) -> None: ...
    def verify(self) -> None: ...
    def fleet(self) -> _Fleet: ...
    def encode_member(self, latents: _Int8) -> bytes: ...
    def write_member(
        self,
        metadata: Sequence[tuple[str, str]],
        sections: Sequence[tuple[str, _Buffer]],
        tensors: Sequence[tuple[str, int, int] | None],
    ) -> bytes: ...

def decode_members(
    members: Sequence[tuple[ArchiveReader, Sequence[tuple[int, int, _Array]]]],
) -> None: ...
