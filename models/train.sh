#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Trains the shipped model: data, training, evaluation. Run it again after an interruption, and it resumes.
#
#   models/train.sh WORK          as models/gdtm was trained; about two hours on two cores
#   models/train.sh WORK quick    all stages but the calibration at small size, including those that the shipped model does without;
#                                 about two minutes on two cores (make train-check)
#
# Folders: WORK/room, harder, moved (data), pretrained, plain, network_class, network, autoencoder, controller, value,
# calibration (runs), figures (evaluation). The result is WORK/calibration/model, or WORK/value/model of the quick run,
# whose network cannot be calibrated. WORK/times.txt lists the duration of each stage.
set -euo pipefail

WORK=${1:?usage: models/train.sh WORK [quick]}
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

train() {  # STAGE CONFIG DATA OUT OPTIONS...
    local what=$1 config=$2 data=$3 out=$4
    shift 4
    stage "$what $config" "$ADMN" train "$what" --config "config/train/$config" --data "$WORK/$data" --out "$WORK/$out" \
        --resume "$@"
}

case $KIND in
shipped)
    simulate=("$ADMN" simulate --room-frames 20)
    harder=(--second-car 0.4 --people 2 --sensor-noise 1 --difficult-rooms 0.5)
    stage data "${simulate[@]}" --frames 9000 --seed 22 --dataset "$WORK/room"
    train finetune room.yaml room plain
    train finetune room_class.yaml room network_class --model "$WORK/plain/model"
    stage harder "${simulate[@]}" --frames 9000 --seed 22 "${harder[@]}" --dataset "$WORK/harder"
    train finetune room_harder.yaml harder network --model "$WORK/network_class/model"
    train controller room_controller.yaml harder controller --model "$WORK/network/model"
    train value room_value.yaml harder value --model "$WORK/controller/model"
    stage moved "${simulate[@]}" --frames 900 --seed 1022 --viewpoints moved "${harder[@]}" --dataset "$WORK/moved"
    train calibration room_calibration.yaml harder calibration --model "$WORK/value/model" \
        --set "calibration.moved=$WORK/moved"
    data=harder result=calibration budgets=(1 2 3 4) limit=400
    ;;
quick)
    stage data "$ADMN" simulate --frames 120 --room-frames 10 --seed 22 --dataset "$WORK/room"
    train pretrain pretrain_room.yaml room pretrained --set pretrain.optimizer.epochs=2
    train finetune room_tiny.yaml room network --model "$WORK/pretrained/model" --set finetune.optimizer.epochs=2
    train autoencoder room_tiny.yaml room autoencoder --model "$WORK/network/model" --set autoencoder.optimizer.epochs=2
    train controller room_tiny.yaml room controller --model "$WORK/autoencoder/model" --set controller.optimizer.epochs=2
    train value room_tiny.yaml room value --model "$WORK/controller/model" --set value.optimizer.epochs=2
    data=room result=value budgets=(1 4 12 inf) limit=20
    ;;
*)
    echo "models/train.sh: found $KIND; allowed: quick, or no second argument" >&2
    exit 2
    ;;
esac
stage evaluate "$ADMN" evaluate "$WORK/$data" --split test_time --model "$WORK/$result/model" \
    --budgets "${budgets[@]}" --corruption clean room-all --policy value allocate naive --limit "$limit" \
    --out "$WORK/figures" --resume --save-metrics
"$ADMN" inspect "$WORK/$result/model"
cat "$WORK/times.txt"
