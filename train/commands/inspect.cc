// twotower inspect: what a checkpoint, a bundle, a dataset, a batch or a run holds.

#include <twotower/models/bundle/bundle.h>
#include <twotower/models/retrieval/index/stored_index.h>
#include <twotower/tensor/error.h>
#include <twotower/tensor/files/atomic_file.h>
#include <twotower/tensor/files/safetensors.h>
#include <twotower/train/commands/commands.h>
#include <twotower/train/data/dataset.h>
#include <twotower/train/evaluate/text_table.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iostream>
#include <limits>
#include <memory>

namespace tt {
namespace {

struct Range {
  double low = std::numeric_limits<double>::infinity(), high = -low, sum = 0;
  int64_t count = 0, bad = 0;  // numbers, and values that are none
  void add(double x) {
    if (!std::isfinite(x)) {
      ++bad;
      return;
    }
    low = std::min(low, x), high = std::max(high, x), sum += x, ++count;
  }
};

template <class T>
void add_all(const TensorEntry& entry, Range& range) {
  const T* values = reinterpret_cast<const T*>(entry.data);
  for (int64_t i = 0; i < entry.elements(); ++i) range.add(static_cast<double>(values[i]));
}

std::string number(double x) {
  std::ostringstream text;
  text.precision(5);
  text << x;
  return text.str();
}

// The learned chance that a slot is looked at, as a bar a slot: relative to the first.
void print_examination(const SafetensorsFile& file) {
  const std::string name = "position_bias_net_user_value.weight";
  if (!file.has(name) || file.entry(name).dtype != DType::F32) return;
  const float* p = file.data<float>(name);
  const int64_t n = std::min<int64_t>(file.entry(name).elements(), 20);
  if (n == 0 || p[0] == 0) return;
  std::cout << "\nexamination curve learned (slot 0 is 1)\n";
  for (int64_t i = 0; i < n; ++i) {
    const double x = static_cast<double>(p[i]) / static_cast<double>(p[0]);
    const auto width = static_cast<size_t>(std::clamp(x, 0.0, 2.0) * 40);
    std::cout << (i < 10 ? "  slot  " : "  slot ") << i << "  " << decimals(x, 3) << "  " << std::string(width, '#')
              << "\n";
  }
}

// What a bundle is for people; the tensors follow. It is read whole and must be what was written.
void inspect_bundle(const std::string& path) {
  const Bundle bundle = Bundle::open(path);
  bundle.verify();
  std::cout << path << ": a bundle, as it was written; its data: " << bundle.data().protocol << "\n";
  const auto count = [](std::span<const uint8_t> flags) { return std::count(flags.begin(), flags.end(), 1); };
  TextTable table{{"what", "how many", "names"}, {}, /*last_is_text=*/true};
  table.rows = {{"items", std::to_string(bundle.num_items()), ""},
                {"items that training has met", std::to_string(count(bundle.learnt_items())), ""}};
  if (bundle.has_users()) {
    table.rows.push_back({"users", std::to_string(bundle.num_users()), ""});
    table.rows.push_back({"users whom training has met", std::to_string(count(bundle.learnt_users())), ""});
  } else {
    table.rows.push_back({"users", "none", "only users described by features and history are served"});
  }
  for (const Category& category : bundle.categories())
    table.rows.push_back({"values of " + category.name, std::to_string(category.values.size()), "--where"});
  const auto columns = [&](const char* side, const FeatureEncoder& encoder) {
    std::string names;
    for (const auto& source : encoder.sources())
      if (source.width > 0) names += (names.empty() ? "" : ", ") + source.name;
    table.rows.push_back(
        {std::string(side) + " features", std::to_string(encoder.constant() ? 0 : encoder.width()), names});
  };
  columns("user", bundle.user_encoder());
  columns("item", bundle.item_encoder());
  const auto index = stored_index(bundle);
  const Recall recall = index->recall();
  table.rows.push_back({"index", std::string(index->kind()),
                        recall.k == 0 ? "all inner products"
                                      : "recall@" + std::to_string(recall.k) + " " + decimals(recall.share, 4) +
                                            " when it was built, of " + std::to_string(recall.queries) + " queries"});
  table.print(std::cout);
  std::cout << "\n";
}

void inspect_tensors(const std::string& path) {
  const SafetensorsFile file = SafetensorsFile::open(path);
  const bool is_bundle = Bundle::is_bundle(file);
  if (is_bundle) inspect_bundle(path);
  TextTable table{{"name", "shape", "type", "min", "max", "mean", "not finite"}, {}, false};
  int64_t elements = 0;
  for (const std::string& name : file.names()) {
    const TensorEntry& entry = file.entry(name);
    elements += entry.elements();
    Range range;
    switch (entry.dtype) {
      case DType::F32:
        add_all<float>(entry, range);
        break;
      case DType::F64:
        add_all<double>(entry, range);
        break;
      case DType::I64:
        add_all<int64_t>(entry, range);
        break;
      case DType::I32:
        add_all<int32_t>(entry, range);
        break;
      case DType::U8:
        add_all<uint8_t>(entry, range);
        break;
      default:
        break;  // a type that we do not compute with: its shape is all we say
    }
    const bool any = range.count > 0;
    table.rows.push_back({name, shape_text(entry.shape), std::string(dtype_name(entry.dtype)),
                          any ? number(range.low) : "-", any ? number(range.high) : "-",
                          any ? number(range.sum / static_cast<double>(range.count)) : "-",
                          range.bad ? std::to_string(range.bad) : "0"});
  }
  std::cout << path << ": " << file.names().size() << " tensors, " << elements << " elements in all"
            << (file.has("item_id_embedding_arch.weight") ? " (the model's parameters)" : "") << "\n";
  for (const auto& [key, value] : file.metadata())
    if (!is_bundle || value.size() < 100) std::cout << "  " << key << ": " << value << "\n";
  table.print(std::cout);
  print_examination(file);
}

void inspect_dataset(const std::string& dir) {
  const Dataset data = Dataset::open(dir);
  const auto joined = [](const std::vector<std::string>& names) {
    std::string out;
    for (size_t i = 0; i < names.size() && i < 12; ++i) out += (i ? ", " : "") + names[i];
    return names.size() > 12 ? out + ", …" : out;
  };
  std::cout << dir << ": a dataset, " << data.protocol() << "\n";
  TextTable table{{"what", "how many", "names"}, {}, /*last_is_text=*/true};
  table.rows = {{"users", std::to_string(data.num_users()), ""},
                {"items", std::to_string(data.num_items()), ""},
                {"tasks", std::to_string(data.num_tasks()), joined(data.tasks())},
                {"user features", std::to_string(data.user_features_size()), joined(data.user_columns())},
                {"item features", std::to_string(data.item_features_size()), joined(data.item_columns())},
                {"history actions", std::to_string(data.history_offsets()[data.num_users()]), joined(data.actions())}};
  for (const Split s : {Split::train, Split::valid, Split::test})
    table.rows.push_back({std::string(split_name(s)) + " impressions", std::to_string(data.split(s).size), ""});
  table.rows.push_back({"positions", data.has_positions() ? "yes" : "no", ""});
  table.rows.push_back({"ranker scores", data.has_ranker_scores() ? "yes" : "no", ""});
  table.rows.push_back({"truth", data.has_truth() ? "yes" : "no", ""});
  table.print(std::cout);
  for (const auto& entry : std::filesystem::directory_iterator(dir))
    if (entry.path().extension() == ".safetensors") {
      std::cout << "\n";
      inspect_tensors(entry.path().string());
    }
}

void run_inspect(const std::string& path) {
  namespace fs = std::filesystem;
  check(fs::exists(path), "inspect", path, " does not exist; give a safetensors file, a dataset or a run folder");
  if (!fs::is_directory(path)) {
    inspect_tensors(path);
  } else if (fs::exists(path + "/dataset.json")) {
    inspect_dataset(path);
  } else if (fs::exists(path + "/bundle.safetensors")) {
    inspect_tensors(path + "/bundle.safetensors");
    if (fs::exists(path + "/config.toml")) std::cout << "\n" << read_whole_file(path + "/config.toml");
  } else {
    fail("inspect", path, " is neither a dataset (no dataset.json) nor a run (no bundle.safetensors)");
  }
}

}  // namespace

void register_inspect(CLI::App& app) {
  auto path = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand("inspect", "What a checkpoint, bundle, batch, dataset or run holds");
  command->add_option("path", *path, "A safetensors file, a dataset folder or a run folder")->required();
  command->footer("Example:\n  twotower inspect runs/base/bundle.safetensors");
  command->callback([path] { run_inspect(*path); });
}

}  // namespace tt
