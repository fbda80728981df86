# The set-up behind ./run, sourced by it: makes .venv, installs what is pinned, checks that it works.
# From ./run: root, venv, ros, key, say, die, right_python.
# shellcheck shell=bash disable=SC2154

log=$venv/setup.log
gl_packages=(libegl1 libopengl0 libgl1-mesa-dri)  # smallest set that renders with EGL in software

# phase TEXT COMMAND...: run it quietly and print one line with the time it took.
phase() {
    local text=$1 start=${EPOCHREALTIME//[!0-9]/} tenths; shift
    printf '  %s ... ' "$text" >&2
    printf '\n$ %s\n' "$*" >>"$log"
    if ! "$@" >>"$log" 2>&1; then
        say failed
        rm -f "$venv/set-up-running"  # nothing is half-done: the next try goes on from here
        awk '/^\$ / { said = "" } { said = said $0 "\n" } END { printf "%s", said }' "$log" |
            tail -n 20 >&2
        die "set-up failed: $text. All it printed is in $log. Then run the same command again."
    fi
    tenths=$(((${EPOCHREALTIME//[!0-9]/} - start) / 100000))
    say "$((tenths / 10)).$((tenths % 10)) s"
}

supported() {  # PYTHON [MODULE]: 3.10 to 3.13, able to import MODULE
    "$1" -c "import sys, ${2:-sys}; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))" \
        2>/dev/null
}

find_python() {
    local candidate candidates=(python3 python3.12 python3.11 python3.13 python3.10) module=sys
    if [[ $ros == system ]]; then candidates=(/usr/bin/python3 python3) module=rclpy; fi
    if [[ -n ${PYTHON:-} ]]; then candidates=("$PYTHON"); fi
    for candidate in "${candidates[@]}"; do
        if supported "$candidate" $module; then python=$candidate; return 0; fi
    done
    return 1
}

install_system_packages() {
    local libraries missing=() install="apt-get install -y --no-install-recommends"
    find_python && "$python" -c 'import ensurepip' 2>/dev/null || missing+=(python3 python3-venv)
    libraries=$(/sbin/ldconfig -p)
    if [[ $libraries != *libEGL.so.1* || $libraries != *libOpenGL.so.0* ]] ||
        ! compgen -G '/usr/lib/*/dri/*_dri.so' >/dev/null; then
        missing+=("${gl_packages[@]}")
    fi
    ((${#missing[@]})) || return 0
    if ((EUID == 0)) && command -v apt-get >/dev/null; then
        say "  system packages: ${missing[*]}"
        { apt-get update && DEBIAN_FRONTEND=noninteractive $install "${missing[@]}"; } \
            >>"$log" 2>&1 || say "  apt-get failed; its output is in $log"
    else
        say "  system packages are missing: sudo $install ${missing[*]}"
    fi
}

install_dependencies() {
    local pip_options=() index=${MULTISMOLVLA_TORCH_INDEX-https://download.pytorch.org/whl/cpu}
    # PyTorch's own index has the CPU build; PyPI's needs gigabytes of CUDA.
    if [[ -n ${MULTISMOLVLA_TORCH_INDEX:-} ]] || { [[ -n $index ]] && timeout 3 "$python" -c \
        'import sys, urllib.request; urllib.request.urlopen(sys.argv[1])' "$index/" 2>/dev/null; }
    then
        pip_options=(--extra-index-url "$index")
    fi
    phase "dependencies, pinned in $requirements" "${pip[@]}" "${pip_options[@]}" -r "$requirements"
}

install_package() {
    local share=$venv/share/multismolvla index=$venv/share/ament_index/resource_index/packages name
    local -a editable=(-e "$root")
    if [[ $ros == wheels ]]; then editable+=(-e "$root/packages/ros2_portable"); fi
    "${pip[@]}" --no-deps --no-build-isolation "${editable[@]}" || return
    rm -rf "$share" "$venv/lib/multismolvla"
    # Links, so that edits count at once; to files, because ros2 launch does not follow linked folders.
    mkdir -p "$share"/{launch,config,urdf} "$index" "$venv/lib/multismolvla" || return
    ln -s "$root/package.xml" "$share/" || return
    ln -s "$root"/launch/*.launch.py "$share/launch/" || return
    ln -s "$root"/config/* "$share/config/" || return
    ln -s "$root"/urdf/*.urdf "$share/urdf/" || return
    ln -sfn "$root/resource/multismolvla" "$index/multismolvla" || return
    "$venv/bin/python" - >"$venv/scripts.txt" <<'PYTHON' || return
from importlib.metadata import distribution
for entry in distribution("multismolvla").entry_points.select(group="console_scripts"):
    print(entry.name)
PYTHON
    while read -r name; do
        ln -s "$venv/bin/$name" "$venv/lib/multismolvla/$name" || return
    done <"$venv/scripts.txt"
    if [[ $ros == system ]]; then  # ROS's own ros2 has the system's Python in its first line
        printf '%s\n' "#!$venv/bin/python" 'from ros2cli.cli import main' 'raise SystemExit(main())' \
            >"$venv/bin/ros2" && chmod +x "$venv/bin/ros2"
    fi
}

check_package() {
    local said
    said=$("$venv/bin/python" -c 'import cv2, cv_bridge, launch_ros, message_filters, rclpy, torch
import multismolvla' 2>&1) && return
    echo "${said##*$'\n'}"  # a traceback's last line says what is missing
    if [[ $ros == system ]]; then
        echo "What package.xml names comes with: rosdep install -y --ignore-src --from-paths $root"
    fi
    return 1
}

check_rendering() {
    local said
    said=$(MUJOCO_GL=egl "$venv/bin/python" -c \
        'import mujoco; mujoco.GLContext(64, 64).make_current()' 2>&1) &&
        return
    echo "Off-screen rendering fails: ${said##*$'\n'}"
    echo "Install what it needs:"
    echo "    sudo apt-get install -y --no-install-recommends ${gl_packages[*]}"
    return 1
}

no_python() {
    die "${PYTHON:-python3} is not Python 3.10 to 3.13$([[ $ros == wheels ]] || echo " with rclpy");" \
        "name one that is in the variable PYTHON"
}

made_for_another() { [[ -f $venv/set-up-done && $(<"$venv/set-up-done") != "$ros $root "* ]]; }

set_up() {
    local requirements=$root/requirements/portable.txt pip python site_packages=()
    [[ $ros == system || $(uname -sm) == "Linux x86_64" ]] || die "ROS 2 wheels exist for Linux" \
        "x86_64 only and this is $(uname -sm): install ROS 2 Jazzy or use docker/"
    [[ -z ${PYTHON:-} ]] || find_python || no_python
    # Interrupted half-way, or made by a Python, for a ROS or in a folder that is gone: start over.
    if [[ -e $venv/set-up-running ]] || ! right_python || made_for_another; then rm -rf "$venv"; fi
    mkdir -p "$venv"
    touch "$venv/set-up-running"
    : >"$log"
    say "Setting up $venv"
    install_system_packages
    find_python || no_python
    if [[ $ros == system ]]; then
        requirements=$root/requirements/ros.txt site_packages=(--system-site-packages)
    fi
    pip=("$venv/bin/python" -m pip install --quiet --no-input --disable-pip-version-check)
    [[ -x $venv/bin/pip ]] ||
        phase "environment ($("$python" --version))" "$python" -m venv "${site_packages[@]}" "$venv"
    install_dependencies
    phase "this package" install_package
    phase "check of the imports" check_package
    phase "check of the rendering" check_rendering
    rm "$venv/set-up-running"
    printf '%s\n' "$key" >"$venv/set-up-done"
}

set_up_tests() {
    phase "test tools" "$venv/bin/python" -m pip install --quiet --no-input \
        --disable-pip-version-check -r "$root/requirements/test.txt"
    phase "the page's viser" "$venv/bin/python" -m pip install --quiet --no-input --no-deps \
        --disable-pip-version-check -r "$root/requirements/web.txt"
    printf '%s\n' "$key" >"$venv/set-up-tests-done"
}
