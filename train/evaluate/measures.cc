// The names and values of metrics.h.

#include <twotower/tensor/error.h>
#include <twotower/tensor/text.h>
#include <twotower/train/evaluate/metrics.h>

#include <algorithm>

namespace tt {

void Measures::set(const std::string& name, double value) {
  for (auto& [known, old] : values_)
    if (known == name) {
      old = value;
      return;
    }
  values_.emplace_back(name, value);
}

bool Measures::has(const std::string& name) const {
  return std::any_of(values_.begin(), values_.end(), [&](const auto& entry) { return entry.first == name; });
}

double Measures::operator[](const std::string& name) const {
  std::vector<std::string> names;
  for (const auto& [known, value] : values_) {
    if (known == name) return value;
    names.push_back(known);
  }
  const std::string nearest = nearest_name(name, names);
  fail("evaluate", "there is no measure \"", name, "\"",
       nearest.empty() ? "; `twotower evaluate` prints those there are" : "; did you mean \"" + nearest + "\"?");
}

bool lower_is_better(const std::string& measure) { return measure.find("value_lost") != std::string::npos; }

std::vector<int64_t> default_ks(int64_t items, const ModelConfig& model) {
  return default_ks(model.light_ranker ? std::min(items, model.num_mips_items) : items);
}

std::vector<int64_t> default_ks(int64_t most) {
  std::vector<int64_t> ks;
  for (const int64_t k : {10, 20, 100})
    if (k <= most) ks.push_back(k);
  if (ks.empty()) ks.push_back(std::max<int64_t>(1, most / 2));
  return ks;
}

}  // namespace tt
