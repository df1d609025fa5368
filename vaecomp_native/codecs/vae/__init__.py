"""The latent codec: a variational autoencoder of one model's weights (Cheng et al. 2024).

`config` has its options and `codec` makes the sections; both do without PyTorch. `training` names
what trains, which needs it.
"""
