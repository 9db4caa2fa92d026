#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Trains the shipped model: data, training, evaluation. Run it again after an interruption, and it resumes.
#
#   models/train.sh WORK          as models/gdtm was trained; less than two hours on two cores
#   models/train.sh WORK hard     shallow backbones for a harder room: a second car, people, noisy sensors
#   models/train.sh WORK quick    all stages but the calibration at small size, including those that the shipped model does without;
#                                 about two minutes on two cores (make train-check)
#
# Folders: WORK/room, moved (data), pretrained, network_first, network, autoencoder, controller, value, calibration
# (runs), figures (evaluation). The result is WORK/calibration/model, or WORK/value/model of the quick run, whose network
# cannot be calibrated. WORK/times.txt lists the duration of each stage.
set -euo pipefail

WORK=${1:?usage: models/train.sh WORK [hard|quick]}
KIND=${2:-shipped}
cd "$(dirname "$0")/.."
ADMN=${ADMN:-.venv/bin/admn}
mkdir -p "$WORK"

stage() {  # NAME COMMAND...
    local name=$1 from=$SECONDS
    shift
    echo "== $name: $*"
    "$@"
    echo "$name: $((SECONDS - from)) s" >> "$WORK/times.txt"
}

train() {  # STAGE CONFIG OUT OPTIONS...
    local what=$1 config=$2 out=$3
    shift 3
    stage "$what $config" "$ADMN" train "$what" --config "config/train/$config" --data "$WORK/room" --out "$WORK/$out" \
        --resume "$@"
}

case $KIND in
shipped | hard)
    room=(--room-frames 20) prefix=""
    if [ "$KIND" = hard ]; then
        room+=(--second-car 0.4 --people 2 --sensor-noise 1) prefix=hard_
    fi
    stage data "$ADMN" simulate --frames 9000 --seed 22 "${room[@]}" --dataset "$WORK/room"
    train finetune "${prefix}room.yaml" network_first
    train finetune "${prefix}room_class.yaml" network --model "$WORK/network_first/model"
    train controller "${prefix}room_controller.yaml" controller --model "$WORK/network/model"
    train value "${prefix}room_value.yaml" value --model "$WORK/controller/model"
    stage moved "$ADMN" simulate --frames 900 --seed 1022 --viewpoints moved "${room[@]}" --dataset "$WORK/moved"
    train calibration room_calibration.yaml calibration --model "$WORK/value/model" --set "calibration.moved=$WORK/moved"
    result=calibration budgets=(1 2 4 8 inf) limit=400
    ;;
quick)
    stage data "$ADMN" simulate --frames 120 --room-frames 10 --seed 22 --dataset "$WORK/room"
    train pretrain pretrain_room.yaml pretrained --set pretrain.optimizer.epochs=2
    train finetune room_tiny.yaml network --model "$WORK/pretrained/model" --set finetune.optimizer.epochs=2
    train autoencoder room_tiny.yaml autoencoder --model "$WORK/network/model" --set autoencoder.optimizer.epochs=2
    train controller room_tiny.yaml controller --model "$WORK/autoencoder/model" --set controller.optimizer.epochs=2
    train value room_tiny.yaml value --model "$WORK/controller/model" --set value.optimizer.epochs=2
    result=value budgets=(1 4 12 inf) limit=20
    ;;
*)
    echo "models/train.sh: found $KIND; allowed: hard, quick, or no argument" >&2
    exit 2
    ;;
esac
stage evaluate "$ADMN" evaluate "$WORK/room" --split test_time --model "$WORK/$result/model" \
    --budgets "${budgets[@]}" --corruption clean room-all --policy value allocate naive --limit "$limit" \
    --out "$WORK/figures" --resume --save-metrics
"$ADMN" inspect "$WORK/$result/model"
cat "$WORK/times.txt"
