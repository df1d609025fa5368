"""Other packages' ways to store a series: what differs from the checkpoint before, or from a base."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from experiments.baselines import lossless_differences
from experiments.baselines.lossless_differences import Coder, Form
from experiments.bases import Setting
from experiments.networks.series import Arrays
from experiments.series_setup import Base, SeriesCodec, Setup, codec_key
from vaecomp_native.io import sinks


def of_previous(setup: Setup, coder: Coder, form: Form) -> SeriesCodec:
    """What differs from the checkpoint before, by another codec; the first alone."""
    series = setup.series

    def encode(number: int, out: Path) -> None:
        reference = series.arrays(number - 1) if number else None
        data = lossless_differences.encode(series.arrays(number), reference, form, coder)
        sinks.write(out, data)

    return _relative(setup, coder, form, "previous", None, None, encode)


def of_base(setup: Setup, coder: Coder, form: Form, base: Base) -> SeriesCodec:
    """What differs from the base, by another codec; the base alone."""
    series, known = setup.series, setup.series.arrays(setup.number(base))
    setup.folder.mkdir(parents=True, exist_ok=True)
    key = codec_key(setup, coder.name, {"base": base}, version=coder.version)
    shared = setup.folder / f"base-{key[:12]}.bin"
    sinks.write(shared, lossless_differences.encode(known, None, form, coder))

    def encode(number: int, out: Path) -> None:
        data = lossless_differences.encode(series.arrays(number), known, form, coder)
        sinks.write(out, data)

    return _relative(setup, coder, form, base, setup.number(base), shared, encode)


def _relative(
    setup: Setup,
    coder: Coder,
    form: Form,
    difference_from: str,
    base: int | None,
    shared: Path | None,
    encode: Callable[[int, Path], None],
) -> SeriesCodec:
    """A codec of another package, on differences from the checkpoint before or from the one in ``shared``."""
    setting: Setting = {"difference_from": difference_from}
    shapes = {name: array.shape for name, array in setup.series.arrays(0).items()}

    def read(path: Path, reference: Arrays | None) -> Arrays:
        data = path.read_bytes()
        return lossless_differences.decode(data, reference, form, coder, shapes)

    def decode(path: Path, previous: Arrays | None) -> Arrays:
        return read(path, read(shared, None) if shared else previous)

    codec = f"{coder.name}, {form}, {'base' if shared else 'previous'}"
    return SeriesCodec(
        codec=codec,
        setting=setting,
        suffix=".bin",
        lossless=True,
        random_access=shared is not None,
        base=base,
        shared=shared,
        shared_seconds=0.0,
        key=codec_key(setup, codec, setting, version=coder.version),
        encode=encode,
        decode=decode,
    )
