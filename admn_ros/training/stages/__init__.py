# SPDX-License-Identifier: Apache-2.0
"""The stages that train ADMN: pretraining, finetuning, autoencoder, controller."""
