"""The latent codec: a variational autoencoder of one model's weights (Cheng et al. 2024).

`config` has its options and `codec` makes the sections. Neither needs PyTorch. `training` names the
functions that train, and needs it.
"""
