#!/usr/bin/env bash
# Trains the policies that are shipped: the commands of docs/training.md, one after the other.
#     ./run scripts/train_small.sh           `small`: starts, or goes on where it was stopped
#     ./run scripts/train_small.sh libero    `small-libero`, the same
#     ./run scripts/train_small.sh … --list  prints the commands
# What is done is noted in out/training/*_steps; without that folder everything is done again.
set -euo pipefail
cd "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/.."

policy=small list=false
for argument; do
    case $argument in
        libero) policy=small_libero ;;
        --list) list=true ;;
        *) echo "error: unknown argument '$argument'; expected libero or --list" >&2; exit 2 ;;
    esac
done
steps=out/training/${policy}_steps
$list || mkdir -p "$steps"

# Run a subcommand of multismolvla unless this very command has already ended well. A demos or train
# that was interrupted continues by itself; the others are short and start over.
m() {
    if $list; then echo "multismolvla $*"; return; fi
    local mark; mark=$steps/$(sha256sum <<<"$*" | head -c 16)
    [[ ! -e $mark ]] || return 0
    echo "multismolvla $*"
    multismolvla "$@" && echo "$*" >"$mark"
}

# Two trainings side by side, a core each. They change different weights. What runs in the background
# gets no Ctrl-C: both are asked to save and end.
together() {
    local first second failed=0
    m "${encoder[@]}" & first=$!
    if $list; then wait $first; fi
    m "${expert[@]}" & second=$!
    trap 'trap "" TERM; kill -TERM 0; wait; exit 130' INT TERM
    wait $first || failed=1
    wait $second || failed=1
    trap - INT TERM
    ((failed == 0)) || exit 1
}

config=config/training

train_small() {
    m scenes --count 60000
    m demos --episodes-per-task 30
    m dataset cache data/demos --out data/cache
    m demos --only none --out data/demos_poses --seed 200000 --noise 1
    m dataset cache data/demos_poses --out data/poses
    encoder=(train $config/perception.yaml --threads 1 --mixed-precision bf16)
    expert=(train $config/action_expert.yaml --threads 1)
    together
    m demos --policy out/training/action_expert/action_expert --privileged --only none \
        --out data/dagger --seed 300000 --episodes-per-task 15
    m dataset cache data/demos_poses data/dagger --out data/poses_dagger
    m train $config/action_expert_dagger.yaml
    # Encoder and action expert in one checkpoint: a step that changes nothing.
    m train $config/small.yaml --set phases.0.steps=1 --set phases.0.learning_rate=1e-12 \
        --set phases.0.cache=data/cache --out out/training/joined
    m demos --policy out/training/joined/policy --stream-loss 0.3 --noise 0.3 \
        --out data/dagger_seen --seed 400000 --episodes-per-task 15
    m dataset cache data/demos data/dagger_seen --out data/seen
    m train $config/small.yaml
    m demos --policy out/training/small/policy --stream-loss 0.3 --noise 0.3 \
        --out data/dagger_small --seed 500000 --episodes-per-task 40
    m demos --policy out/training/action_expert_dagger/action_expert --privileged \
        --expert-share 0.2 --noise 0.2 --only none \
        --out data/dagger_poses2 --seed 600000 --episodes-per-task 40
    m dataset cache data/demos data/dagger_seen data/dagger_small --out data/seen2
    m dataset cache data/demos_poses data/dagger data/dagger_poses2 \
        data/demos data/dagger_seen data/dagger_small --out data/poses2 --only none
    encoder=(train $config/perception_dagger.yaml --threads 1 --mixed-precision bf16)
    expert=(train $config/action_expert_again.yaml --threads 1)
    together
    m train $config/finish.yaml
}

train_small_libero() {
    local arm=(--embodiment panda) robot=(--embodiment panda --streams config/libero/streams.yaml)
    m demos --world libero --suite object --noise 0.6 --episodes-per-task 30 --out data/libero/object
    m dataset cache data/libero/object "${arm[@]}" --out data/libero/seen
    encoder=(train $config/libero_perception.yaml "${robot[@]}" --threads 1)
    expert=(train $config/libero_action_expert.yaml "${robot[@]}" --threads 1)
    together
    # Encoder and action expert in one checkpoint: a step that changes nothing.
    m train $config/libero_policy.yaml "${robot[@]}" --set phases.0.steps=1 \
        --set phases.0.learning_rate=1e-12 --out out/training/libero_joined
    m demos --world libero --suite object --policy out/training/libero_joined/policy \
        --stream-loss 0.3 --noise 0.3 --seed 400000 --episodes-per-task 15 \
        --out data/libero/object_dagger
    m dataset cache data/libero/object data/libero/object_dagger "${arm[@]}" --out data/libero/seen2
    m train $config/libero_policy.yaml "${robot[@]}"
    # The second suite, from these weights.
    m demos --world libero --suite spatial --noise 0.6 --episodes-per-task 25 \
        --out data/libero/spatial
    m dataset cache data/libero/object data/libero/spatial "${arm[@]}" --out data/libero/both
    encoder=(train $config/libero_perception_again.yaml "${robot[@]}" --threads 1)
    expert=(train $config/libero_action_expert_again.yaml "${robot[@]}" --threads 1)
    together
    m segmentation --cache data/libero/both --steps 2500 \
        --weights src/multismolvla/segmentation/libero.safetensors
    m train $config/libero_finish.yaml "${robot[@]}" --set phases.0.steps=1 \
        --set phases.0.learning_rate=1e-12 --set phases.0.cache=data/libero/both \
        --set model.encoder=out/training/libero_perception_again/perception \
        --out out/training/libero_joined_again
    m demos --world libero --suite object spatial \
        --policy out/training/libero_joined_again/policy --stream-loss 0.3 --noise 0.3 \
        --seed 500000 --episodes-per-task 7 --out data/libero/both_dagger
    m dataset cache data/libero/object data/libero/spatial data/libero/both_dagger "${arm[@]}" \
        --out data/libero/both2
    m train $config/libero_perception_dagger.yaml "${robot[@]}"
    m train $config/libero_finish.yaml "${robot[@]}"
}

"train_$policy"
