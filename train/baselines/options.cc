#include <twotower/tensor/error.h>
#include <twotower/tensor/text.h>
#include <twotower/train/baselines/options.h>

#include <cmath>
#include <variant>
#include <vector>

namespace tt {
namespace {

struct Key {
  std::string name;
  std::variant<int64_t*, double*> value;
};

std::vector<Key> keys_of(BaselineOptions& o) {
  return {{"itemknn.neighbours", &o.itemknn.neighbours},
          {"itemknn.shrinkage", &o.itemknn.shrinkage},
          {"markov.steps", &o.markov.steps},
          {"markov.decay", &o.markov.decay},
          {"markov.normalisation", &o.markov.normalisation},
          {"ease.l2", &o.ease.l2},
          {"als.width", &o.als.width},
          {"als.sweeps", &o.als.sweeps},
          {"als.alpha", &o.als.alpha},
          {"als.l2", &o.als.l2},
          {"als_ranker.width", &o.als_ranker.width},
          {"als_ranker.sweeps", &o.als_ranker.sweeps},
          {"als_ranker.l2", &o.als_ranker.l2}};
}

}  // namespace

void set_baseline_key(BaselineOptions& options, const std::string& assignment) {
  const size_t equals = assignment.find('=');
  check(equals != std::string::npos, "evaluate", "--set ", assignment, " has no value; write it as ease.l2=300");
  const std::string name(trim(assignment.substr(0, equals)));
  std::vector<std::string> names;
  for (const Key& key : keys_of(options)) {
    names.push_back(key.name);
    if (key.name != name) continue;
    double value = 0;
    const bool whole = std::holds_alternative<int64_t*>(key.value);
    const bool l2 = name.ends_with(".l2");  // of 0 the equations may have no one answer
    const bool good = parse_number(assignment.substr(equals + 1), value) &&
                      (whole ? value >= 1 && value <= 1e6 && value == std::floor(value)
                       : l2  ? value > 0
                             : value >= 0);
    check(good, "evaluate", "--set ", assignment, ": ", name, " is a ",
          whole ? "whole number from 1 to 1000000"
          : l2  ? "number above 0"
                : "number, 0 or more");
    if (whole)
      *std::get<int64_t*>(key.value) = static_cast<int64_t>(value);
    else
      *std::get<double*>(key.value) = value;
    return;
  }
  std::string choices;
  for (const std::string& known : names) choices += (choices.empty() ? "" : ", ") + known;
  const std::string nearest = nearest_name(name, names);
  fail("evaluate", "--set ", assignment, ": no baseline has a key \"", name, "\"; ",
       nearest.empty() ? "choose from " + choices : "did you mean \"" + nearest + "\"?");
}

}  // namespace tt
