#include "metarm/shift/shift_store.h"

#include <openssl/evp.h>
#include <openssl/rand.h>

#include <algorithm>
#include <array>

#include "metarm/base/random.h"
#include "metarm/base/wall_clock.h"

namespace metarm {

namespace {

constexpr std::int64_t kApplication = 0x6d52534d;  // marks the file as ours, of this make
constexpr std::size_t kHashBytes = 16;

std::string random_salt() {
  std::array<unsigned char, 16> bytes;
  if (RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) != 1) fail_internal("shift log: the system gives no random bytes");
  return std::string(bytes.begin(), bytes.end());
}

// What draws go by: the same in every file, and of no order that the text has.
std::int64_t key_of(std::string_view text) { return static_cast<std::int64_t>(derive_seed(0, text)); }

}  // namespace

struct ShiftStore::Statements {
  explicit Statements(Database& database)
      : find_prompt(database, "SELECT id FROM prompts WHERE hash = ?1"),
        add_prompt(database, "INSERT INTO prompts (hash, form, key, text) VALUES (?1, ?2, ?3, ?4) RETURNING id"),
        add_response(
            database,
            "INSERT INTO responses (prompt, hash, text, reward, version, time, step, key) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"),
        remove_older(database, "DELETE FROM responses WHERE time < ?1"),
        remove_oldest(database, "DELETE FROM responses WHERE id IN (SELECT id FROM responses ORDER BY time, id LIMIT ?1)") {}
  Statement find_prompt, add_prompt, add_response, remove_older, remove_oldest;
};

ShiftStore::~ShiftStore() = default;

ShiftStore::ShiftStore(const std::string& path, const StoreLimits& limits, bool redact, bool check)
    : database_(path, Database::Access::write), limits_(limits), redact_(redact) {
  const bool is_new = database_.number("SELECT COUNT(*) FROM sqlite_master") == 0;
  if (!is_new && database_.number("PRAGMA application_id") != kApplication)
    fail_input("{}: expected a shift log of this version, got another database, or one of an earlier version; name another file", path);
  database_.execute("PRAGMA journal_mode = WAL");
  database_.execute("PRAGMA synchronous = FULL");             // a commit is on the disk when it returns
  database_.execute("PRAGMA journal_size_limit = 16777216");  // bytes; a burst leaves no longer one behind
  if (is_new) make_tables();
  if (check) database_.check_whole();
  if (!redact && database_.number("SELECT value FROM settings WHERE name = 'redacted'") != 0)
    fail_input("{}: expected a log with texts, got a redacted one; name another file, or redact", path);
  if (redact) remove_texts();
  salt_ = database_.bytes("SELECT value FROM settings WHERE name = 'salt'");
  page_bytes_ = database_.number("PRAGMA page_size");
  rows_ = database_.number("SELECT COUNT(*) FROM responses");
  statements_ = std::make_unique<Statements>(database_);
  append({});  // the limits may be others than they were
}

void ShiftStore::make_tables() {
  const std::string salt = random_salt();
  Transaction transaction(database_);
  database_.execute(
      "CREATE TABLE settings (name TEXT PRIMARY KEY, value NOT NULL);"
      "CREATE TABLE prompts (id INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, form TEXT NOT NULL, key INTEGER, text TEXT);"
      "CREATE TABLE responses (id INTEGER PRIMARY KEY, prompt INTEGER NOT NULL REFERENCES prompts, hash BLOB NOT NULL, text TEXT,"
      "  reward REAL NOT NULL, version TEXT NOT NULL, time REAL NOT NULL, step INTEGER, key INTEGER);"
      "CREATE INDEX responses_of_prompt ON responses (prompt, hash, time);"
      "CREATE INDEX responses_by_time ON responses (time);"
      "CREATE TRIGGER prompt_without_responses AFTER DELETE ON responses BEGIN"
      "  DELETE FROM prompts WHERE id = OLD.prompt AND NOT EXISTS (SELECT 1 FROM responses WHERE prompt = OLD.prompt); END");
  Statement set(database_, "INSERT INTO settings VALUES ('redacted', 0), ('salt', ?1)");
  set.bind_blob(1, salt);
  set.run();
  database_.execute(fmt::format("PRAGMA application_id = {}", kApplication).c_str());
  transaction.commit();
}

// VACUUM writes the file anew: without it, pages that are free by now would still hold texts. Marked as done last, so that a killed one is
// repeated.
void ShiftStore::remove_texts() {
  if (database_.number("SELECT value FROM settings WHERE name = 'redacted'") != 0) return;
  database_.execute("UPDATE prompts SET text = NULL, key = NULL");
  database_.execute("UPDATE responses SET text = NULL, key = NULL");
  database_.execute("VACUUM");
  database_.execute("UPDATE settings SET value = 1 WHERE name = 'redacted'");
  database_.execute("PRAGMA wal_checkpoint(TRUNCATE)");
}

void ShiftStore::append(std::span<const StoredResponse* const> rows) {
  Transaction transaction(database_);
  for (const StoredResponse* row : rows) insert(*row);
  const std::int64_t all = rows_ + static_cast<std::int64_t>(rows.size()), removed = remove_beyond_limits(all), used = used_bytes();
  transaction.commit();
  rows_ = all - removed;
  bytes_ = used;
}

std::string ShiftStore::hash(std::string_view text) const {
  const std::string salted = salt_ + std::string(text);
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  if (EVP_Digest(salted.data(), salted.size(), digest.data(), nullptr, EVP_sha256(), nullptr) != 1) fail_internal("shift log: no SHA-256");
  return std::string(digest.begin(), digest.begin() + kHashBytes);
}

// A prompt whose texts become tokens in another way is another prompt: what is compared is read alike.
std::int64_t ShiftStore::id_of_prompt(const StoredResponse& row) {
  const std::string form(to_text(row.form)), read_so = form + row.prompt, prompt_hash = hash(read_so);
  Statement& find = statements_->find_prompt;
  find.bind_blob(1, prompt_hash);
  const bool known = find.step();
  std::int64_t id = known ? find.integer(0) : 0;
  find.reset();
  if (known) return id;
  Statement& add = statements_->add_prompt;
  add.bind_blob(1, prompt_hash);
  add.bind(2, form);
  if (!redact_) {  // unbound: null
    add.bind(3, key_of(read_so));
    add.bind(4, row.prompt);
  }
  add.step();
  id = add.integer(0);
  add.run();
  return id;
}

void ShiftStore::insert(const StoredResponse& row) {
  const std::string response_hash = hash(row.response);
  Statement& add = statements_->add_response;
  add.bind(1, id_of_prompt(row));
  add.bind_blob(2, response_hash);
  if (!redact_) {
    add.bind(3, row.response);
    add.bind(8, key_of(row.response));
  }
  add.bind(4, row.reward);
  add.bind(5, row.version);
  add.bind(6, row.time_s);
  row.step ? add.bind(7, *row.step) : add.bind_null(7);
  add.run();
}

std::int64_t ShiftStore::remove_beyond_limits(std::int64_t rows) {
  std::int64_t left = rows;
  statements_->remove_older.bind(1, seconds_since_1970() - limits_.age_s);
  statements_->remove_older.run();
  left -= database_.changes();
  const auto remove = [&](std::int64_t count) {
    statements_->remove_oldest.bind(1, count);
    statements_->remove_oldest.run();
    left -= database_.changes();
  };
  if (left > limits_.rows) remove(left - limits_.rows);
  // A twentieth more than needed, so that not every batch has to remove some.
  for (std::int64_t used = used_bytes(); used > limits_.bytes && left > 0; used = used_bytes())
    remove(std::max<std::int64_t>(1, left * (used - limits_.bytes) / used + left / 20));
  return rows - left;
}

std::int64_t ShiftStore::used_bytes() {
  return (database_.number("PRAGMA page_count") - database_.number("PRAGMA freelist_count")) * page_bytes_;
}

}  // namespace metarm
