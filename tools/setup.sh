# What the commands of ./run need, set up once: Debian packages, a Python environment with torch, the build folder. Sourced, not run.

PYTHON=.venv/bin/python
TORCH_VERSION=2.13.0
BUILD_PACKAGES=(g++ cmake ninja-build ccache pkg-config python3-venv nlohmann-json3-dev libfmt-dev 
  libtomlplusplus-dev libpcre2-dev libicu-dev zlib1g-dev libcurl4-openssl-dev libcpp-httplib-dev libssl-dev libsqlite3-dev libjemalloc-dev
  libopenmpi-dev openmpi-bin)
TEST_PACKAGES=(libgtest-dev)
BROWSER_PACKAGES=(chromium fonts-dejavu-core)
LINT_PACKAGES=(clang-format-14)
LLAMA_CPP=llama-cpp-python==0.3.36
FUZZ_PACKAGES=(clang-14 libclang-rt-14-dev)

say() { echo "==> $*" >&2; }
fail() {
  echo "run: $*" >&2
  exit 1
}

installed() { dpkg-query -W -f='${Status}' "$1" 2>/dev/null | grep -q 'install ok installed'; }

# Installs the Debian packages that are missing, or names them with the command that does.
need_packages() {
  local missing=() package
  for package in "$@"; do installed "$package" || missing+=("$package"); done
  [ ${#missing[@]} -eq 0 ] && return
  command -v apt-get >/dev/null || fail "these packages (Debian's names) are missing: ${missing[*]}; install them and call again"
  local sudo=()
  if [ "$(id -u)" -ne 0 ]; then
    sudo -n true 2>/dev/null || fail "missing packages; run: sudo apt-get update && sudo apt-get install -y ${missing[*]}"
    sudo=(sudo -n)
  fi
  say "installing ${missing[*]}"
  "${sudo[@]}" apt-get update -qq
  DEBIAN_FRONTEND=noninteractive "${sudo[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null ||
    fail "apt-get could not install: ${missing[*]}"
}

# A browser in which tests open the page of a report. Ubuntu has Chromium as a snap alone: there one that is installed is used, or these tests are skipped.
need_browser() {
  local name
  for name in chromium chromium-browser google-chrome; do command -v "$name" >/dev/null && return; done
  if grep -qx 'ID=debian' /etc/os-release 2>/dev/null; then
    need_packages "${BROWSER_PACKAGES[@]}"
  else
    say "found no Chromium: the page of a report is not tested in a browser"
  fi
}

# CUDA torch where there are a GPU and its compiler, else the CPU build, which is a tenth of the size.
install_torch() {
  local pip=("$PYTHON" -m pip install --quiet --disable-pip-version-check)
  if command -v nvidia-smi >/dev/null && nvidia-smi -L >/dev/null 2>&1; then
    if command -v nvcc >/dev/null; then
      say "installing torch $TORCH_VERSION with CUDA"
      "${pip[@]}" "torch==$TORCH_VERSION" numpy
      return
    fi
    say "found a GPU but no nvcc (package nvidia-cuda-toolkit or NVIDIA's CUDA toolkit): taking torch for the CPU"
  fi
  say "installing torch $TORCH_VERSION for the CPU"
  # A plain index offers the CUDA build only; uv knows where the CPU build is.
  "${pip[@]}" --only-binary=:all: "torch==$TORCH_VERSION+cpu" numpy 2>/dev/null ||
    { "${pip[@]}" uv && "$PYTHON" -m uv pip install --quiet --python "$PYTHON" --torch-backend=cpu "torch==$TORCH_VERSION" numpy; } ||
    fail "could not install torch $TORCH_VERSION; check the network, then call again"
}

need_python() { # PYTHON's environment, .venv where none is named
  if [ ! -x "$PYTHON" ]; then
    local folder=${1:-.venv}
    command -v python3 >/dev/null || fail "python3 is missing; run: apt-get install -y python3 python3-venv"
    say "making the Python environment $folder"
    python3 -m venv "$folder" || fail "python3 -m venv failed; run: apt-get install -y python3-venv"
  fi
  "$PYTHON" -c "import torch, sys; sys.exit(not torch.__version__.startswith('$TORCH_VERSION'))" 2>/dev/null || install_torch
}

# The packages that tests compare against, once their list has changed.
need_test_python() {
  need_python
  local stamp=.venv/metarm-test-requirements pip=("$PYTHON" -m pip install --quiet --disable-pip-version-check)
  cat tests/requirements*.txt | cmp -s - "$stamp" && return
  say "installing the libraries that the tests compare with"
  # Python alone, though marked as of one machine and one version: taken as they are on every other.
  local files=("${pip[@]}" --no-deps --upgrade --target .venv/files --only-binary=:all: --implementation cp --python-version 3.11 --abi cp311 --platform manylinux1_x86_64)
  "${pip[@]}" -r tests/requirements.txt && "${files[@]}" -r tests/requirements-files.txt || fail "could not install tests/requirements*.txt"
  cat tests/requirements*.txt >"$stamp"
}

# The peers that ./run bench measures against, in an environment of their own: what TRL asks for must not change what the tests compare with.
need_bench_python() {
  PYTHON=.venv-bench/bin/python need_python .venv-bench
  local python=.venv-bench/bin/python stamp=.venv-bench/metarm-bench-requirements
  cmp -s bench/requirements.txt "$stamp" && return
  say "installing the peers of the benchmark"
  "$python" -m pip install --quiet --disable-pip-version-check -r bench/requirements.txt || fail "could not install bench/requirements.txt"
  # llama.cpp has no wheel for every machine, and compiles for some minutes; the benchmark goes on without it.
  CMAKE_ARGS=-DLLAVA_BUILD=OFF timeout 1800 "$python" -m pip install --quiet --disable-pip-version-check "$LLAMA_CPP" >/dev/null 2>&1 || say "could not install $LLAMA_CPP: it is not measured"
  cp bench/requirements.txt "$stamp"
}

build_jobs() { # a torch source takes about 1 GB to compile
  local cores memory
  cores=$(nproc)
  memory=$(awk '/MemAvailable/ {print int($2 / 1500000)}' /proc/meminfo)
  echo $((memory < 1 ? 1 : memory < cores ? memory : cores))
}

# build_in FOLDER [TARGETS...] [-- CMAKE OPTIONS...]
build_in() {
  local folder=$1 targets=() options=()
  shift
  while [ $# -gt 0 ] && [ "$1" != -- ]; do targets+=("$1"); shift; done
  [ $# -gt 0 ] && { shift; options=("$@"); }
  export CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
  cmake -S . -B "$folder" -G Ninja -DCMAKE_CXX_COMPILER_LAUNCHER=ccache "${options[@]}" >"/tmp/metarm-cmake-$$.log" 2>&1 || {
    cat "/tmp/metarm-cmake-$$.log" >&2
    rm -f "/tmp/metarm-cmake-$$.log"
    fail "cmake could not configure $folder"
  }
  rm -f "/tmp/metarm-cmake-$$.log"
  say "building in $folder"
  local quiet=()
  [[ $(ninja --help 2>&1) == *--quiet* ]] && quiet=(--quiet) # older ones than 1.11 have it not
  ninja -C "$folder" -j "$(build_jobs)" "${quiet[@]}" "${targets[@]}" >&2 || fail "the build failed"
}

build_program() {
  need_packages "${BUILD_PACKAGES[@]}"
  need_python
  build_in build metarm
}
