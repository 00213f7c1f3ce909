#include "metarm/shift/database.h"

#include <sqlite3.h>

#include <cstring>
#include <utility>

namespace metarm {

namespace {

std::string describe(const std::string& path, const std::string& wanted, sqlite3* database, int code) {
  std::string message = fmt::format("{}: expected to {}, got: {}", path, wanted, sqlite3_errstr(code));
  const int system = database != nullptr ? sqlite3_system_errno(database) : 0;
  const int kind = code & 0xff;
  if (system != 0 && (kind == SQLITE_IOERR || kind == SQLITE_FULL || kind == SQLITE_CANTOPEN))
    message += fmt::format(" ({})", std::strerror(system));
  if (kind == SQLITE_FULL) message += "; free some space";
  return message;
}

}  // namespace

DatabaseError::DatabaseError(const std::string& path, const std::string& wanted, sqlite3* database, int code)
    : Error(ErrorKind::io, describe(path, wanted, database, code)),
      damaged_((code & 0xff) == SQLITE_CORRUPT || (code & 0xff) == SQLITE_NOTADB) {}

Database::Database(std::string path, Access access) : path_(std::move(path)) {
  const int flags = access == Access::write ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READWRITE;
  const int code = sqlite3_open_v2(path_.c_str(), &handle_, flags | SQLITE_OPEN_NOMUTEX, nullptr);
  if (code != SQLITE_OK) {
    const DatabaseError error(path_, "open", handle_, code);
    sqlite3_close(handle_);
    throw error;
  }
  sqlite3_extended_result_codes(handle_, 1);
  sqlite3_busy_timeout(handle_, 10000);  // ms, for a connection of ours that is about to end
  if (access == Access::read) execute("PRAGMA query_only = ON");
}

Database::~Database() { sqlite3_close(handle_); }

void Database::execute(const char* sql) {
  const int code = sqlite3_exec(handle_, sql, nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) throw DatabaseError(path_, "write", handle_, code);
}

std::int64_t Database::number(const char* sql) {
  Statement statement(*this, sql);
  return statement.step() ? statement.integer(0) : 0;
}

std::string Database::bytes(const char* sql) {
  Statement statement(*this, sql);
  return statement.step() ? statement.bytes(0) : "";
}

void Database::check_whole() {
  if (bytes("PRAGMA quick_check(1)") != "ok") throw DatabaseError(path_, "find it whole", nullptr, SQLITE_CORRUPT);
}

std::int64_t Database::changes() const { return sqlite3_changes(handle_); }

Statement::Statement(Database& database, const char* sql) : database_(database) {
  check(sqlite3_prepare_v2(database.handle_, sql, -1, &handle_, nullptr));
}

Statement::~Statement() { sqlite3_finalize(handle_); }

void Statement::check(int code) const {
  if (code != SQLITE_OK) throw DatabaseError(database_.path_, "read or write", database_.handle_, code);
}

void Statement::bind(int parameter, std::int64_t value) { check(sqlite3_bind_int64(handle_, parameter, value)); }
void Statement::bind(int parameter, double value) { check(sqlite3_bind_double(handle_, parameter, value)); }
void Statement::bind(int parameter, std::string_view text) {
  check(sqlite3_bind_text(handle_, parameter, text.data(), static_cast<int>(text.size()), SQLITE_STATIC));
}
void Statement::bind_blob(int parameter, std::string_view bytes) {
  check(sqlite3_bind_blob(handle_, parameter, bytes.data(), static_cast<int>(bytes.size()), SQLITE_STATIC));
}
void Statement::bind_null(int parameter) { check(sqlite3_bind_null(handle_, parameter)); }

bool Statement::step() {
  const int code = sqlite3_step(handle_);
  if (code != SQLITE_ROW && code != SQLITE_DONE) check(code);
  return code == SQLITE_ROW;
}

void Statement::run() {
  while (step()) {
  }
  reset();
}

void Statement::reset() { check(sqlite3_reset(handle_)); }

std::int64_t Statement::integer(int column) const { return sqlite3_column_int64(handle_, column); }
double Statement::real(int column) const { return sqlite3_column_double(handle_, column); }
std::string Statement::bytes(int column) const {
  const auto* begin = static_cast<const char*>(sqlite3_column_blob(handle_, column));
  return begin == nullptr ? "" : std::string(begin, static_cast<std::size_t>(sqlite3_column_bytes(handle_, column)));
}

Transaction::Transaction(Database& database) : database_(database) { database.execute("BEGIN"); }

Transaction::~Transaction() {
  if (!open_) return;
  try {
    database_.execute("ROLLBACK");
  } catch (const DatabaseError&) {  // SQLite has rolled back itself, as it does when the disk is full
  }
}

void Transaction::commit() {
  database_.execute("COMMIT");
  open_ = false;
}

}  // namespace metarm
