#include "metarm/base/error.h"

namespace metarm {

int exit_code(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::input: return 2;
    case ErrorKind::io: return 3;
    case ErrorKind::resumption: return 4;
    case ErrorKind::internal: return 70;
  }
  return 70;
}

}  // namespace metarm
