// torch's exceptions and the allocator's as metarm's own: io errors where memory ran out, else internal ones.
#pragma once

#include <c10/util/Exception.h>

#include <new>
#include <string>

#include "metarm/base/error.h"

namespace metarm {

template <class Body>
auto with_torch_errors(Body&& body) {
  try {
    return body();
  } catch (const c10::OutOfMemoryError& error) {
    fail_io("out of GPU memory; lower --tokens-per-batch ({})", error.what_without_backtrace());
  } catch (const c10::Error& error) {
    const std::string what = error.what_without_backtrace();
    if (what.find("DefaultCPUAllocator") != std::string::npos) fail_io("out of memory; lower --tokens-per-batch");
    fail_internal("{}", what);
  } catch (const std::bad_alloc&) {
    fail_io("out of memory; lower --tokens-per-batch");
  }
}

}  // namespace metarm
