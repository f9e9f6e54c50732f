// A parsed template.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "text/chat/jinja/value.h"

namespace chunkllm::jinja {

struct Expr;
using ExprPtr = std::unique_ptr<const Expr>;

// What stands in the brackets of a call, a filter or a test.
struct Arguments {
  std::vector<ExprPtr> positional;
  std::vector<std::pair<std::string, ExprPtr>> named;
  ExprPtr star;         // *list, or null
  ExprPtr double_star;  // **dict, or null
};

enum class ExprKind {
  kConst,
  kName,
  kList,
  kTuple,
  kDict,       // key, value, key, value ...
  kAttribute,  // parts[0].name
  kItem,       // parts[0][parts[1]]
  kSlice,      // parts[0][parts[1]:parts[2]:parts[3]]; null where left out
  kCall,       // parts[0](args)
  kFilter,     // parts[0]|name(args); parts[0] is null in a filter block
  kTest,       // parts[0] is name(args)
  kUnary,      // name ("-", "+" or "not") parts[0]
  kBinary,     // parts[0] name parts[1]; name: + - * / // % **
  kConcat,     // parts joined by ~
  kCompare,    // parts[0] ops[0] parts[1] ops[1] ...
  kAnd,
  kOr,
  kConditional,  // parts[1] if parts[0] else parts[2], which may be null
};

struct Expr {
  ExprKind kind = ExprKind::kConst;
  int line = 0;
  int depth = 1;  // of the tree beneath it
  std::string name;
  Value constant;
  std::vector<ExprPtr> parts;
  std::vector<std::string> ops;
  Arguments args;
};

// What a value is stored in: a name, name.attribute of a namespace, or several of them.
struct Target {
  std::string name;
  std::string attribute;
  std::vector<Target> parts;  // empty: a single one
};

struct Stmt;
using Stmts = std::vector<std::unique_ptr<Stmt>>;

// A macro's parameters, the last of them with defaults.
struct Signature {
  std::vector<std::string> names;
  std::vector<ExprPtr> defaults;
};

enum class StmtKind {
  kOutput,
  kIf,        // exprs and bodies in turn; one body more: else
  kFor,       // target in exprs[0] if exprs[1], which may be null; bodies: loop, else
  kSet,       // target = exprs[0]
  kSetBlock,  // target = bodies[0], through the filter exprs[0], which may be null
  kMacro,
  kCallBlock,    // exprs[0] is the call, signature and bodies[0] its caller
  kFilterBlock,  // exprs[0] is the filter
  kWith,         // targets = exprs in bodies[0]
  kScope,        // bodies[0], whose names stay in it: {% generation %}, {% block %}
  kBreak,
  kContinue,
};

struct Stmt {
  StmtKind kind = StmtKind::kOutput;
  int line = 0;
  std::string name;
  std::vector<ExprPtr> exprs;
  std::vector<Target> targets;
  std::vector<Stmts> bodies;
  Signature signature;
  bool is_recursive = false;  // a loop that may be called
  bool is_apart = false;      // a scope that sees the template's own names and none between
  bool uses_caller = false;   // a macro whose body speaks of it
  bool uses_varargs = false;
  bool uses_kwargs = false;
};

// Throws Error (kData) with the line of what is no template; (kUnsupported) for what this engine
// cannot do. `source` must be valid UTF-8.
Stmts parse_template(std::string_view source);

}  // namespace chunkllm::jinja
