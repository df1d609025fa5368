"""Members' files: written once, measured once, and looked up after that."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean

from experiments.member_codecs import MemberCodec
from experiments.personal_fleet import Examination
from experiments.results.fleet import Point
from vaecomp_native.demo.files import write_json

ENCODE_SECONDS = "seconds.json"
"""Beside a codec's files."""


def _folder(codec: MemberCodec, cache: Path) -> Path:
    return cache / "files" / f"{codec.codec}-{codec.key[:16]}"


def encode(codec: MemberCodec, numbers: Sequence[int], cache: Path) -> list[Path]:
    """The members' files; those that are there are used again."""
    folder = _folder(codec, cache)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"member-{number:04d}{codec.suffix}" for number in numbers]
    spent = []
    try:
        for number, path in zip(numbers, paths, strict=True):
            if not path.exists():
                start = time.perf_counter()
                codec.encode(number, path)
                spent.append(time.perf_counter() - start)
    finally:
        if spent:
            write_json(folder / ENCODE_SECONDS, {"mean": fmean(spent)})
    return paths


def measure(codec: MemberCodec, examination: Examination, cache: Path, part: str) -> Point:
    """Encode the members that are examined and score what their files decode to, or look up what came of it."""
    notes = _folder(codec, cache) / f"{part}.json"
    numbers = list(examination.numbers)
    if notes.exists() and (known := json.loads(notes.read_text("utf-8")))["numbers"] == numbers:
        return Point(**known["point"])
    paths = encode(codec, numbers, cache)
    spent = notes.with_name(ENCODE_SECONDS)
    start = time.perf_counter()
    decoded = codec.decode(paths)
    decode_seconds = (time.perf_counter() - start) / len(paths)
    scores = examination.scores(decoded)
    point = Point(
        codec=codec.codec,
        setting=codec.setting,
        accuracy_mean=scores.accuracy,
        accuracy_worst=min(scores.accuracies),
        agreement=scores.agreement,
        bytes_per_member=fmean(path.stat().st_size for path in paths),
        shared_bytes=codec.shared_bytes,
        encode_seconds=json.loads(spent.read_text("utf-8"))["mean"] if spent.exists() else None,
        decode_seconds=decode_seconds,
    )
    write_json(notes, {"numbers": numbers, "point": asdict(point)})
    return point
