#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The shipped model from nothing: data, training, figures. Run again after an interruption, it goes on.
#
#   models/train.sh WORK          what made models/gdtm
#   models/train.sh WORK quick    every stage in minutes, the optional ones too: to see that all of it runs
#
# Folders: WORK/room (data), pretrained, network_first, network, autoencoder, controller (runs), figures.
# The result is WORK/controller/model.
# How long each stage took is added to WORK/times.txt.
set -euo pipefail

WORK=${1:?a folder to work in}
KIND=${2:-shipped}
cd "$(dirname "$0")/.."
ADMN=${ADMN:-.venv/bin/admn}
mkdir -p "$WORK"

stage() {  # NAME COMMAND...
    local name=$1 from=$SECONDS
    shift
    echo "== $name: $*"
    "$@"
    echo "$name $((SECONDS - from)) s" >> "$WORK/times.txt"
}

train() {  # STAGE CONFIG OUT OPTIONS...
    local what=$1 config=$2 out=$3
    shift 3
    stage "$what, $config," "$ADMN" train "$what" --config "config/train/$config" --data "$WORK/room" --out "$WORK/$out" --resume "$@"
}

case $KIND in
shipped)
    stage data "$ADMN" simulate --frames 9000 --room-frames 20 --seed 22 --dataset "$WORK/room"
    train finetune room.yaml network_first
    train finetune room_class.yaml network --model "$WORK/network_first/model"
    train controller room_controller.yaml controller --model "$WORK/network/model"
    limit=400
    ;;
quick)
    stage data "$ADMN" simulate --frames 400 --room-frames 20 --seed 22 --dataset "$WORK/room"
    train pretrain pretrain_room.yaml pretrained --set pretrain.optimizer.epochs=2
    train finetune room_tiny.yaml network --model "$WORK/pretrained/model" --set finetune.optimizer.epochs=2
    train autoencoder room_tiny.yaml autoencoder --model "$WORK/network/model" --set autoencoder.optimizer.epochs=2
    train controller room_tiny.yaml controller --model "$WORK/autoencoder/model" --set controller.optimizer.epochs=2
    limit=40
    ;;
*)
    echo "models/train.sh: found $KIND; allowed: quick, or nothing" >&2
    exit 2
    ;;
esac
stage evaluate "$ADMN" evaluate "$WORK/room" --split test_time --model "$WORK/controller/model" \
    --budgets 4 6 12 24 inf --corruption clean room-all --policy allocate naive --limit "$limit" --out "$WORK/figures" --resume
cat "$WORK/times.txt"
