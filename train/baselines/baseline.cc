#include <twotower/tensor/error.h>
#include <twotower/tensor/text.h>
#include <twotower/train/baselines/als.h>
#include <twotower/train/baselines/als_ranker.h>
#include <twotower/train/baselines/baseline.h>
#include <twotower/train/baselines/ease.h>
#include <twotower/train/baselines/item_knn.h>
#include <twotower/train/baselines/markov.h>

#include <algorithm>

namespace tt {
namespace {

// Why the data, or this machine, cannot have it, with the mend; "" if they can.
std::string refusal(const std::string& name, const Dataset& data) {
  if (name == "recent" && !data.has_times())
    return "the baseline \"recent\" needs times, which the data's source does not have; leave it out";
  if (name == "als_ranker" && !data.has_ranker_scores())
    return "the baseline \"als_ranker\" needs the main ranker's scores in the training log, which the data does not "
           "have; leave it out";
  return name == "ease" ? Ease::refusal(data.num_items(), Ease::available_bytes()) : "";
}

}  // namespace

const std::vector<std::string>& baseline_names() {
  static const std::vector<std::string> names = {"popularity", "recent", "itemknn",    "markov",
                                                 "ease",       "als",    "als_ranker", "random"};
  return names;
}

void check_baseline_name(const std::string& name) {
  const std::vector<std::string>& names = baseline_names();
  if (std::find(names.begin(), names.end(), name) != names.end()) return;
  std::string choices;
  for (const std::string& known : names) choices += known + ", ";
  const std::string nearest = nearest_name(name, names);
  fail("evaluate", "there is no baseline \"", name, "\"; ",
       nearest.empty() ? "choose from " + choices + "or all" : "did you mean \"" + nearest + "\"?");
}

std::unique_ptr<Baseline> make_baseline(const std::string& name, const BaselineOptions& options) {
  if (name == "itemknn") return std::make_unique<ItemKnn>(options);
  if (name == "markov") return std::make_unique<Markov>(options);
  if (name == "ease") return std::make_unique<Ease>(options);
  if (name == "als") return std::make_unique<Als>(options);
  if (name == "als_ranker") return std::make_unique<AlsRanker>(options);
  return nullptr;
}

std::vector<std::string> choose_baselines(const std::vector<std::string>& names, const Dataset& data,
                                          const std::function<void(const std::string&)>& note) {
  std::vector<std::string> out;
  const auto add = [&](const std::string& name) {
    if (std::find(out.begin(), out.end(), name) == out.end()) out.push_back(name);
  };
  for (const std::string& name : names) {
    if (name != "all") {
      check_baseline_name(name);
      const std::string why = refusal(name, data);
      check(why.empty(), "evaluate", why);
      add(name);
      continue;
    }
    for (const std::string& one : baseline_names())
      if (const std::string why = refusal(one, data); why.empty())
        add(one);
      else if (note)
        note("left out: " + why);
  }
  return out;
}

std::string baseline_note(const std::string& name, const Dataset& data) {
  return name == "ease" ? Ease::note(data.num_items()) : "";
}

}  // namespace tt
