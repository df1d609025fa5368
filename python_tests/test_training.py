"""Training of the VAE, the decoders made from it, and the refinement of latents."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from vaecomp_native import kernels  # noqa: E402
from vaecomp_native.codecs.vae.finetune import SimulatedDecoder  # noqa: E402
from vaecomp_native.codecs.vae.hidden import hidden_activations  # noqa: E402
from vaecomp_native.codecs.vae.refine import refine_latents  # noqa: E402
from vaecomp_native.codecs.vae.trainer import EarlyStopping, normalized_importance  # noqa: E402
from vaecomp_native.codecs.vae.training import (  # noqa: E402
    TrainedVAE,
    TrainingConfig,
    WeightPrecision,
    tensor_importance,
    to_float32,
    to_integer,
    train_vae,
)
from vaecomp_native.codecs.vae.variants import Variants  # noqa: E402
from vaecomp_native.decoders import IntegerDecoder  # noqa: E402
from vaecomp_native.errors import TrainingError  # noqa: E402
from vaecomp_native.quantization.fixed_point import fixed_point  # noqa: E402

SMALL = TrainingConfig(
    latent=8,
    hidden=32,
    epochs=15,
    batch_chunks=128,
    finetune_steps=60,
    refine_steps=5,
    device="cpu",
)
PRECISIONS = list(WeightPrecision)


def structured(count: int = 24, length: int = 64, rank: int = 4, seed: int = 0) -> np.ndarray:
    """Chunks of low rank with some noise."""
    random = np.random.default_rng(seed)
    mixed = random.standard_normal((count, rank)) @ random.standard_normal((rank, length))
    return (0.05 * (mixed + 0.1 * random.standard_normal((count, length)))).astype(np.float32)


def relative_error(decoded: np.ndarray, chunks: np.ndarray) -> float:
    return float(np.square(decoded - chunks).sum() / np.square(chunks).sum())


def equal_decoders(one: IntegerDecoder, other: IntegerDecoder) -> bool:
    return all(
        np.array_equal(a, b)
        for x, y in zip(one.layers, other.layers, strict=True)
        for a, b in zip(x.arrays(), y.arrays(), strict=True)
    )


@pytest.fixture(scope="module")
def chunks() -> np.ndarray:
    return structured()


@pytest.fixture(scope="module")
def trained(chunks: np.ndarray) -> TrainedVAE:
    return train_vae(chunks, np.ones_like(chunks), SMALL)


class TestConfig:
    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("latent", 0),
            ("hidden", 0),
            ("hidden", 1.5),
            ("epochs", 0),
            ("epochs", True),
            ("probability", 1.1),
            ("sigma", -1.0),
            ("beta", math.nan),
            ("learning_rate", 0.0),
            ("distortion", math.inf),
            ("seed", -1),
            ("threads", -1),
        ],
    )
    def test_refuses_values_out_of_range_and_names_the_field(
        self, field: str, value: object
    ) -> None:
        with pytest.raises(ValueError, match=field):
            TrainingConfig(**{field: value})  # type: ignore[arg-type]

    @pytest.mark.parametrize("device", ["cuda:99", "tpu", "meta"])
    def test_refuses_a_device_that_is_not_available(self, chunks: np.ndarray, device: str) -> None:
        with pytest.raises(TrainingError, match=device):
            train_vae(chunks, np.ones_like(chunks), dataclasses.replace(SMALL, device=device))


class TestVariants:
    @pytest.mark.parametrize("batch_chunks", [1, 5, 7, 16, 100])
    def test_tiles_are_slices_of_all_variants_and_cover_each_once(self, batch_chunks: int) -> None:
        base = structured(7, 10)
        variants = Variants(base, 3, 4, 0.5, 0.1, 9, batch_chunks)
        whole = kernels.noise_variants(
            base.reshape(-1), 4, probability=0.5, sigma=0.1, seed=9, first_variant=3
        ).reshape(4, 7, 10)
        seen = np.zeros((4, 7), np.int64)
        for tile, values in variants.shuffled(torch.Generator().manual_seed(1)):
            assert len(values) <= batch_chunks
            where = (
                slice(tile.first_variant - 3, tile.first_variant - 3 + tile.variants),
                slice(tile.first_chunk, tile.last_chunk),
            )
            np.testing.assert_array_equal(values, whole[where].reshape(-1, 10))
            seen[where] += 1
        assert (seen == 1).all()


class TestTraining:
    def test_loss_falls_and_the_history_tells_it(self, trained: TrainedVAE) -> None:
        losses = [entry["validation_loss"] for entry in trained.history]
        assert [entry["epoch"] for entry in trained.history] == list(range(1, len(losses) + 1))
        assert min(losses) < 0.3 * losses[0]
        assert all(
            set(entry) == {"epoch", "train_loss", "validation_loss", "seconds"}
            for entry in trained.history
        )

    def test_reconstructions_beat_zero(self, trained: TrainedVAE, chunks: np.ndarray) -> None:
        decoder, latents = to_float32(trained, chunks)
        assert latents.dtype == np.float32 and latents.shape == (24, 8)
        assert relative_error(decoder.forward(latents), chunks) < 0.2

    def test_seeded_runs_repeat_bit_for_bit(self, trained: TrainedVAE, chunks: np.ndarray) -> None:
        again = train_vae(chunks, np.ones_like(chunks), SMALL)
        other = train_vae(
            chunks, np.ones_like(chunks), dataclasses.replace(SMALL, seed=1, epochs=1)
        )
        states = [vae.module.state_dict() for vae in (trained, again, other)]
        assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
        assert not all(torch.equal(states[0][name], states[2][name]) for name in states[0])

    def test_global_random_state_and_threads_stay(self, chunks: np.ndarray) -> None:
        state, numpy_state, threads = (
            torch.get_rng_state(),
            np.random.get_state(legacy=False)["state"]["key"].copy(),  # noqa: NPY002
            torch.get_num_threads(),
        )
        vae = train_vae(chunks, np.ones_like(chunks), dataclasses.replace(SMALL, epochs=1))
        for precision in PRECISIONS:
            to_integer(vae, chunks, np.ones_like(chunks), precision, SMALL)
        assert torch.equal(torch.get_rng_state(), state)
        assert np.array_equal(np.random.get_state(legacy=False)["state"]["key"], numpy_state)  # noqa: NPY002
        assert torch.get_num_threads() == threads

    def test_stops_early_and_keeps_the_best_state(self) -> None:
        module = torch.nn.Linear(1, 1)
        stopping = EarlyStopping(patience=2, min_improvement=0.1)
        values = []
        for value, loss in enumerate([5.0, 1.0, 0.95, 2.0]):
            torch.nn.init.constant_(module.weight, float(value))
            stopping.update(loss, module)
            values.append(stopping.stop)
        stopping.restore(module)
        assert values == [False, False, False, True]
        assert module.weight.item() == 2.0

    def test_training_that_cannot_improve_stops(self) -> None:
        zeros = np.zeros((3, 8), np.float32)
        config = dataclasses.replace(SMALL, epochs=500, patience=3, sigma=0.0, learning_rate=1e-12)
        assert len(train_vae(zeros, np.ones_like(zeros), config).history) <= 8

    def test_not_finite_weights_are_an_error_that_says_what_to_do(self, chunks: np.ndarray) -> None:
        broken = chunks.copy()
        broken[0, 0] = np.nan
        with pytest.raises(TrainingError, match="learning_rate"):
            train_vae(broken, np.ones_like(chunks), SMALL)

    def test_progress_comes_each_epoch_and_interrupts_pass(self, chunks: np.ndarray) -> None:
        calls: list[tuple[str, int, int]] = []

        def progress(stage: str, done: int, total: int, metrics: Mapping[str, float]) -> None:
            assert math.isfinite(metrics["loss"])
            calls.append((stage, done, total))
            if done == 3:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train_vae(chunks, np.ones_like(chunks), SMALL, progress)
        assert calls == [("train", epoch, SMALL.epochs) for epoch in (1, 2, 3)]


class TestInteger:
    def test_int8_decoder_is_accurate_where_units_suffice(
        self, trained: TrainedVAE, chunks: np.ndarray
    ) -> None:
        decoder, latents = to_integer(
            trained, chunks, np.ones_like(chunks), WeightPrecision.INT8, SMALL
        )
        assert latents.dtype == np.int8 and latents.shape == (24, 8)
        assert (decoder.latent, decoder.chunk_length) == (8, 64)
        assert relative_error(decoder.forward(latents), chunks) < 1e-3

    def test_int8_decoder_of_more_chunks_than_units_beats_the_float_one(self) -> None:
        chunks = structured(60, rank=6)
        config = dataclasses.replace(SMALL, hidden=16, finetune_steps=200)
        vae = train_vae(chunks, np.ones_like(chunks), config)
        plain, means = to_float32(vae, chunks)
        decoder, latents = to_integer(
            vae, chunks, np.ones_like(chunks), WeightPrecision.INT8, config
        )
        error = relative_error(decoder.forward(latents), chunks)
        assert error < relative_error(plain.forward(means), chunks)

    def test_simulated_activations_are_the_exported_decoders(
        self, trained: TrainedVAE, chunks: np.ndarray
    ) -> None:
        simulated = SimulatedDecoder(trained, chunks)
        code = simulated.export()
        with torch.no_grad():
            expected = simulated.activations(torch.arange(len(chunks))).numpy()
        exact = hidden_activations(code.layer, code.latents)
        assert exact.max() > 60
        # A product within float32 rounding of a tie may round to the other side.
        assert np.abs(exact - expected).max() <= 1
        assert (exact != expected).mean() < 0.001

    @pytest.mark.parametrize("precision", PRECISIONS)
    def test_repeats_bit_for_bit(
        self, trained: TrainedVAE, chunks: np.ndarray, precision: WeightPrecision
    ) -> None:
        (one, a), (other, b) = (
            to_integer(trained, chunks, np.ones_like(chunks), precision, SMALL) for _ in range(2)
        )
        assert np.array_equal(a, b) and equal_decoders(one, other)

    @pytest.mark.parametrize("precision", PRECISIONS)
    @pytest.mark.parametrize(
        "chunks",
        [
            pytest.param(structured(1), id="one chunk"),
            pytest.param(structured(3), id="fewer chunks than latents"),
            pytest.param(structured(5, 1), id="chunks of one number"),
            pytest.param(np.full((4, 16), 0.25, np.float32), id="constant"),
            pytest.param(np.zeros((4, 16), np.float32), id="zeros"),
            pytest.param(structured(40, rank=20), id="more chunks than hidden units"),
            pytest.param(1e-12 * structured(6), id="tiny"),
            pytest.param(1e12 * structured(6), id="huge"),
            pytest.param(
                structured(6, 16) * np.repeat(np.array([[1e-3], [1]], np.float32), 3, 0),
                id="two scales",
            ),
        ],
    )
    def test_edge_shapes(self, chunks: np.ndarray, precision: WeightPrecision) -> None:
        config = dataclasses.replace(SMALL, epochs=8, distortion=0.01)
        importance = np.ones_like(chunks)
        vae = train_vae(chunks, importance, config)
        plain, means = to_float32(vae, chunks)
        assert np.isfinite(plain.forward(means)).all()
        decoder, latents = to_integer(vae, chunks, importance, precision, config)
        decoded = decoder.forward(latents)
        assert decoded.shape == chunks.shape
        energy = float(np.square(chunks, dtype=np.float64).sum())
        error = float(np.square(decoded.astype(np.float64) - chunks).sum())
        # 8 hidden units cannot hold 40 chunks of rank 20.
        assert error <= (0.7 if len(chunks) == 40 else 0.02) * energy

    @pytest.mark.parametrize("precision", PRECISIONS)
    def test_padding_does_not_matter(self, precision: WeightPrecision) -> None:
        chunks, importance = structured(6), np.ones((6, 64), np.float32)
        importance[-1, 20:] = 0
        chunks[-1, 20:] = 0
        vae = train_vae(chunks, importance, dataclasses.replace(SMALL, epochs=5))
        decoder, latents = to_integer(vae, chunks, importance, precision, SMALL)
        used = importance > 0
        assert relative_error(decoder.forward(latents)[used], chunks[used]) < 0.05


class TestCoarse:
    def test_distortion_is_kept_and_buys_symbols(
        self, trained: TrainedVAE, chunks: np.ndarray
    ) -> None:
        errors, symbols = [], []
        for distortion in (0.001, 0.01, 0.1):
            config = dataclasses.replace(SMALL, distortion=distortion)
            decoder, latents = to_integer(
                trained, chunks, np.ones_like(chunks), WeightPrecision.COARSE, config
            )
            errors.append(relative_error(decoder.forward(latents), chunks))
            symbols.append(len(np.unique(decoder.layers[-1].weight)))
            assert errors[-1] <= distortion + 0.001
        assert errors == sorted(errors)
        assert symbols == sorted(symbols, reverse=True)

    def test_important_chunks_are_decoded_better(
        self, trained: TrainedVAE, chunks: np.ndarray
    ) -> None:
        importance = np.ones_like(chunks)
        importance[:4] = 8
        config = dataclasses.replace(SMALL, distortion=0.02)
        found = {}
        for name, factors in (("plain", np.ones_like(chunks)), ("weighted", importance)):
            decoder, latents = to_integer(trained, chunks, factors, WeightPrecision.COARSE, config)
            found[name] = np.square(decoder.forward(latents) - chunks).mean(1)
        shares = {name: error[:4].mean() / error[4:].mean() for name, error in found.items()}
        assert shares["weighted"] < 0.8 * shares["plain"]

    def test_one_scale_and_no_bias(self, trained: TrainedVAE, chunks: np.ndarray) -> None:
        decoder, _ = to_integer(
            trained, chunks, np.ones_like(chunks), WeightPrecision.COARSE, SMALL
        )
        last = decoder.layers[-1]
        assert last.scale is not None
        assert len(np.unique(last.scale)) == 1
        assert not last.bias.any()


class TestRefinement:
    def test_no_chunk_gets_worse_and_bad_latents_get_better(
        self, trained: TrainedVAE, chunks: np.ndarray
    ) -> None:
        decoder, latents = to_integer(
            trained, chunks, np.ones_like(chunks), WeightPrecision.INT8, SMALL
        )
        shift = np.random.default_rng(0).integers(-9, 10, latents.shape)
        worse = np.clip(latents + shift, -127, 127).astype(np.int8)
        weights = normalized_importance(chunks, np.ones_like(chunks))
        losses: list[float] = []
        refined = refine_latents(
            decoder,
            worse,
            chunks,
            weights,
            30,
            progress=lambda *call: losses.append(call[3]["loss"]),
        )
        before = np.square(decoder.forward(worse) - chunks).sum(1)
        after = np.square(decoder.forward(refined) - chunks).sum(1)
        assert (after <= before).all() and after.sum() < 0.5 * before.sum()
        assert len(losses) == 30 and losses == sorted(losses, reverse=True)

    def test_no_steps_change_nothing(self, trained: TrainedVAE, chunks: np.ndarray) -> None:
        decoder, latents = to_integer(
            trained, chunks, np.ones_like(chunks), WeightPrecision.INT8, SMALL
        )
        np.testing.assert_array_equal(
            refine_latents(decoder, latents, chunks, np.ones_like(chunks), 0), latents
        )


class TestImportance:
    def test_follows_spread_and_size_and_leaves_padding_out(self) -> None:
        random = np.random.default_rng(0)
        tensors = [
            random.standard_normal(1600) * 0.1,
            random.standard_normal((10, 10)),
            np.zeros(3),
        ]
        importance = tensor_importance(tensors, 500).reshape(-1)
        assert importance.dtype == np.float32 and importance.size == 2000
        spreads = [tensor.std() for tensor in tensors[:2]]
        assert importance[0] / importance[1600] == pytest.approx(
            spreads[1] / spreads[0] / 2, rel=1e-5
        )
        assert (importance[:1703] > 0).all() and not importance[1703:].any()

    def test_constant_tensors_and_nothing_have_finite_importance(self) -> None:
        assert np.isfinite(tensor_importance([np.ones(5), np.zeros(4)], 8)).all()
        assert tensor_importance([np.zeros(0)], 8).shape == (0, 8)


def test_fixed_point_keeps_31_bits() -> None:
    gains = np.concatenate(
        [[0.0, 1.0, 0.5, 1e-9, 3e8], np.random.default_rng(0).uniform(1e-6, 10, 100)]
    )
    multiplier, shift = fixed_point(gains)
    assert multiplier.dtype == np.int32 and shift.dtype == np.uint8
    assert (multiplier >= 0).all() and (shift <= 62).all()
    np.testing.assert_allclose(
        np.ldexp(multiplier.astype(float), -shift.astype(int)), gains, rtol=1e-9
    )
