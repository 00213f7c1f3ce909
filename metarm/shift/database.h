// SQLite, as much of it as the shift log needs: connections, statements, and errors that say what is wrong with the file.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "metarm/base/error.h"

struct sqlite3;
struct sqlite3_stmt;

namespace metarm {

// Kind io. `path: expected to ..., got: SQLite's words`.
class DatabaseError : public Error {
 public:
  DatabaseError(const std::string& path, const std::string& wanted, sqlite3* database, int code);
  bool damaged() const { return damaged_; }  // the file is no database, or a broken one

 private:
  bool damaged_;
};

// One connection, for one thread at a time.
class Database {
 public:
  enum class Access { write, read };  // write makes the file where there is none
  Database(std::string path, Access access);
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;
  ~Database();

  void execute(const char* sql);         // statements without results
  std::int64_t number(const char* sql);  // the one number that the statement gives; 0 for none
  std::string bytes(const char* sql);    // the one text or blob
  void check_whole();                    // reads all of it; DatabaseError where it is damaged
  std::int64_t changes() const;          // rows that the last statement inserted, changed or deleted

 private:
  friend class Statement;
  std::string path_;
  sqlite3* handle_ = nullptr;
};

// A prepared statement. Parameters and columns count from 1 and 0, as SQLite's do. Bound texts must live until the next reset.
class Statement {
 public:
  Statement(Database& database, const char* sql);
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;
  ~Statement();

  void bind(int parameter, std::int64_t value);
  void bind(int parameter, double value);
  void bind(int parameter, std::string_view text);
  void bind_blob(int parameter, std::string_view bytes);
  void bind_null(int parameter);
  bool step();   // whether there is a row
  void run();    // to the end, then reset
  void reset();  // for other parameters

  std::int64_t integer(int column) const;
  double real(int column) const;
  std::string bytes(int column) const;  // of a text or a blob; empty for null

 private:
  void check(int code) const;
  Database& database_;
  sqlite3_stmt* handle_ = nullptr;
};

// Rolls back unless it was committed.
class Transaction {
 public:
  explicit Transaction(Database& database);
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  ~Transaction();
  void commit();

 private:
  Database& database_;
  bool open_ = true;
};

}  // namespace metarm
