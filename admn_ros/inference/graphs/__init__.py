# SPDX-License-Identifier: Apache-2.0
"""The network as recorded segments on tensors at fixed addresses, for GPUs: a frame is a sequence of replays."""
