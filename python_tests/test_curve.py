"""Size against quality: a module in files of many sizes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import vaecomp_native as vc
from vaecomp_native.compression.curve import CODECS, Candidate, candidates, load

from .tied import distance, tied


@pytest.fixture
def batches() -> list[torch.Tensor]:
    return list(torch.randn(4, 32, 24, generator=torch.Generator().manual_seed(1)))


def test_a_point_is_a_real_file_and_its_score_that_of_the_decoded_module(
    batches: list[torch.Tensor], tmp_path: Path
) -> None:
    module = tied()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    calls: list[tuple[int, int, float]] = []
    points = vc.rate_distortion(
        module,
        calibration=vc.Calibration(batches, divergence="mse"),
        evaluate=lambda decoded: distance(module, decoded),
        codecs=["quantized", "lossless"],
        rate_weights=[0.001, 0.5],
        directory=tmp_path,
        progress=lambda stage, done, total, metrics: calls.append((done, total, metrics["score"])),
    )
    assert [point.codec for point in points] == ["quantized", "quantized", "lossless"]
    assert [dict(point.setting) for point in points] == [
        {"rate_weight": 0.001},
        {"rate_weight": 0.5},
        {},
    ]
    fine, coarse, lossless = points
    assert fine.bytes > coarse.bytes
    assert 0 < fine.score < coarse.score
    assert lossless.score == 0
    for point in points:
        path = tmp_path / Candidate(CODECS[point.codec], point.setting).file_name
        assert path.stat().st_size == point.bytes
        assert distance(module, load(module, CODECS[point.codec], path)) == point.score
        assert point.ratio_self_contained == vc.verify(path).raw_bytes / point.bytes
        assert point.encode_seconds > 0
        assert point.decode_seconds > 0
        assert json.loads(json.dumps(point.to_dict())) == point.to_dict()
    assert calls == [(k, 3, point.score) for k, point in enumerate(points, start=1)]
    assert all(torch.equal(module.state_dict()[name], old) for name, old in before.items())
    assert len(list(tmp_path.iterdir())) == 3


def test_an_unknown_codec_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"'zip'.*quantized.*lossless"):
        vc.rate_distortion(tied(), evaluate=lambda decoded: 0.0, codecs=["zip"])


def test_no_two_operating_points_share_a_file() -> None:
    weights = [2 ** (step / 4) for step in range(-32, 16)]
    plan = [candidate for codec in CODECS for candidate in candidates(codec, weights)]
    assert len({candidate.file_name for candidate in plan}) == len(plan)


def test_curves_are_there_without_importing_torch() -> None:
    code = "import sys, vaecomp_native as v; v.rate_distortion; print({'torch'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "set()\n"
