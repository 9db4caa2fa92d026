# SPDX-License-Identifier: Apache-2.0
"""Training: LayerDrop finetuning, the autoencoder, controllers; one loop for all of them."""
