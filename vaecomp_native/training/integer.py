"""The integer decoders of a trained VAE."""

from __future__ import annotations

from vaecomp_native.decoders import Float32Array, Int8Array, IntegerDecoder
from vaecomp_native.progress import Progress, silent
from vaecomp_native.training.coarse import coarse_decoder
from vaecomp_native.training.config import TrainingConfig, WeightPrecision
from vaecomp_native.training.finetune import finetune
from vaecomp_native.training.hidden import hidden_activations
from vaecomp_native.training.output import solve_output
from vaecomp_native.training.refine import refine_latents
from vaecomp_native.training.trainer import TrainedVAE, normalised_importance


def to_integer(
    trained: TrainedVAE,
    chunks: Float32Array,
    importance: Float32Array,
    precision: WeightPrecision,
    config: TrainingConfig,
    progress: Progress = silent,
) -> tuple[IntegerDecoder, Int8Array]:
    """An integer decoder and its latents.

    INT8: latents and decoder are fine-tuned on the chunks as if they were integers, the last layer
    is solved for with error feedback, and the latents are refined through the result. COARSE: see
    `coarse_decoder`.

    Args:
        trained: result of `train_vae` for these chunks.
        chunks: float32 [K, C].
        importance: float32 [K, C], factors of the errors, zero where a chunk is padding.
        precision: kind of decoder.
        config: options.
        progress: called with the stages "fine-tune" and "refine".

    Returns:
        The decoder and its latents, int8 [K, L].

    Raises:
        TrainingError: the loss of fine-tuning is not finite, or the latents are too few for a
            COARSE decoder.
    """
    weights = normalised_importance(chunks, importance)
    if precision is WeightPrecision.COARSE:
        return coarse_decoder(trained.means(chunks).numpy(), chunks, weights, config, progress)
    code = finetune(trained, chunks, weights, config, progress)
    activations = hidden_activations(code.layer, code.latents, config.threads)
    decoder = IntegerDecoder((code.layer, solve_output(activations, chunks, weights)))
    latents = refine_latents(
        decoder, code.latents, chunks, weights, config.refine_steps, config.threads, progress
    )
    return decoder, latents
