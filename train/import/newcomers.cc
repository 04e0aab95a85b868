#include <twotower/tensor/error.h>
#include <twotower/tensor/text.h>
#include <twotower/train/data/delimited.h>
#include <twotower/train/import/newcomers.h>

#include <algorithm>
#include <fstream>
#include <unordered_map>

namespace tt {
namespace {

Dialect dialect_of(const std::string& path, char delimiter) {
  if (delimiter) return {delimiter, true, false};
  std::ifstream in(path, std::ios::binary);
  std::string header;
  std::getline(in, header);  // a file that cannot be read is refused by whoever reads on
  const bool tabs = header.find('\t') != std::string::npos;
  const bool typed = header.find(":token") != std::string::npos;
  return {tabs || typed ? '\t' : ',', !typed, typed};
}

// What goes wrong often in a file is told once a column, with the first case.
class Strays {
 public:
  Strays(std::string column, std::string what) : column_(std::move(column)), what_(std::move(what)) {}
  void add(int64_t line, const std::string& text) {
    if (++count_ == 1) first_ = "\"" + text + "\" on line " + std::to_string(line);
  }
  void tell(const std::string& path, std::vector<std::string>& notes) const {
    if (count_ == 0) return;
    notes.push_back(path + ": column \"" + column_ + "\": " + std::to_string(count_) + " " + what_ + ", the first " +
                    first_);
  }

 private:
  std::string column_, what_, first_;
  int64_t count_ = 0;
};

class Reader {
 public:
  Reader(const std::string& path, const Bundle& bundle, bool users)
      : path_(path),
        users_(users),
        encoder_(users ? bundle.user_encoder() : bundle.item_encoder()),
        known_(users ? bundle.user_ids() : bundle.item_ids()),
        items_(bundle.item_ids()) {}

  // row(id, features, history) for each line.
  template <class Row>
  void read(char delimiter, std::vector<std::string>& notes, Row row) {
    read_table(
        path_, dialect_of(path_, delimiter), [&](const std::vector<HeaderColumn>& header) { plan(header); },
        [&](int64_t line, const std::vector<std::string_view>& fields) {
          const std::string id = read_id(line, fields[0]);
          std::vector<float> features = std::vector<float>(static_cast<size_t>(encoder_.width()));
          encoder_.blank(features.data());
          std::vector<int32_t> history;
          for (size_t c = 1; c < fields.size(); ++c) read_field(line, fields[c], c, features, history);
          row(id, std::move(features), std::move(history));
        });
    check(!first_line_.empty(), "import " + path_, "has a header and no line below it; give a line for each ", role());
    for (const Strays& stray : strays_) stray.tell(path_, notes);
  }

 private:
  const char* role() const { return users_ ? "user" : "item"; }

  // Which sources each column of the file fills: one, the entries of a vector, or none (the history, a source
  // that was left out).
  void plan(const std::vector<HeaderColumn>& header) {
    const auto& sources = encoder_.sources();
    std::vector<bool> there(sources.size(), false);
    std::vector<std::string> names = users_ ? std::vector<std::string>{"history"} : std::vector<std::string>();
    for (const auto& source : sources) names.push_back(source.name);
    for (size_t c = 0; c < header.size(); ++c) {
      const std::string& name = header[c].name;
      std::vector<size_t> fills;
      for (size_t s = 0; s < sources.size(); ++s)
        if (sources[s].name == name || sources[s].name.starts_with(name + "[")) fills.push_back(s);
      const bool history = users_ && name == "history";
      check(c > 0 || fills.empty(), "import " + path_, "the first column is the feature \"", name,
            "\"; put the id of the ", role(), " there");
      if (c > 0 && fills.empty() && !history) {
        const std::string nearest = nearest_name(name, names);
        fail("import " + path_, "column \"", name, "\" is no ", role(), " feature of the dataset",
             nearest.empty() ? "; remove it" : "; did you mean \"" + nearest + "\"?");
      }
      for (const size_t s : fills) there[s] = true;
      if (history) history_ = c;
      strays_.emplace_back(name, history ? "items of histories are not in the dataset and are left out"
                                         : "values that the dataset does not know count as missing");
      fills_.push_back(std::move(fills));
      columns_.push_back(name);
    }
    for (size_t s = 0; s < sources.size(); ++s)
      check(there[s] || sources[s].width == 0, "import " + path_, "has no column \"", sources[s].name,
            "\", which the model reads; add it (an empty field is a missing value)");
  }

  std::string read_id(int64_t line, std::string_view field) {
    const std::string id(trim(field));
    check(!id.empty(), at_line(path_, line), "the first column is empty; every line needs an id");
    check(!known_.find(id), at_line(path_, line), role(), " \"", id, "\" is in the dataset already; ",
          users_ ? "ask for it with --user" : "remove the line");
    const auto [earlier, fresh] = first_line_.emplace(id, line);
    check(fresh, at_line(path_, line), role(), " \"", id, "\" is there again, first on line ", earlier->second,
          "; keep one line each");
    return id;
  }

  void read_field(int64_t line, std::string_view field, size_t c, std::vector<float>& features,
                  std::vector<int32_t>& history) {
    if (c == history_) return read_history(line, field, history);
    if (fills_[c].size() == 1) return encode(line, fills_[c][0], c, field, features);
    const std::vector<std::string_view> entries = pieces(field, ' ');
    if (entries.empty()) return;
    check(entries.size() == fills_[c].size(), at_line(path_, line), "column \"", columns_[c], "\" has ", entries.size(),
          " numbers, the dataset ", fills_[c].size());
    for (size_t k = 0; k < entries.size(); ++k) encode(line, fills_[c][k], c, entries[k], features);
  }

  void encode(int64_t line, size_t s, size_t c, std::string_view text, std::vector<float>& features) {
    const FeatureEncoder::Source& source = encoder_.sources()[s];
    const std::string unknown = encoder_.encode(source, text, features.data());
    if (unknown.empty()) return;
    double number;
    check(source.kind != FeatureEncoder::Source::Kind::numeric, at_line(path_, line), "column \"", columns_[c],
          "\": \"", unknown, "\" is ",
          parse_number(unknown, number) ? "far beyond all that the dataset holds" : "not a number",
          "; leave the field empty if the value is missing");
    strays_[c].add(line, unknown);
  }

  void read_history(int64_t line, std::string_view field, std::vector<int32_t>& history) {
    const char separator = field.find('|') != std::string_view::npos ? '|' : ' ';
    for (const std::string_view piece : pieces(field, separator)) {
      if (const auto row = items_.find(piece))
        history.push_back(static_cast<int32_t>(*row));
      else
        strays_[history_].add(line, std::string(piece));
    }
  }

  const std::string& path_;
  bool users_;
  const FeatureEncoder& encoder_;
  const IdTable &known_, &items_;
  std::vector<std::vector<size_t>> fills_;  // by column: sources
  std::vector<std::string> columns_;
  std::vector<Strays> strays_;
  size_t history_ = 0;  // its column; 0, the id's: there is none
  std::unordered_map<std::string, int64_t> first_line_;
};

}  // namespace

NewItems read_new_items(const std::string& path, const Bundle& bundle, char delimiter) {
  check(bundle.config().item_features_size > 0, "import " + path, "the model of ", bundle.path(),
        " reads no item features, so all new items would look the same; import item features and train on them");
  NewItems out;
  Reader(path, bundle, false)
      .read(delimiter, out.notes, [&](const std::string& id, std::vector<float> features, auto&&) {
        out.ids.push_back(id);
        out.features.insert(out.features.end(), features.begin(), features.end());
      });
  return out;
}

NewUsers read_new_users(const std::string& path, const Bundle& bundle, char delimiter) {
  NewUsers out;
  Reader(path, bundle, true)
      .read(delimiter, out.notes,
            [&](const std::string& id, std::vector<float> features, std::vector<int32_t> history) {
              out.ids.push_back(id);
              if (bundle.config().user_features_size == 0) features.clear();
              out.features.push_back(std::move(features));
              std::reverse(history.begin(), history.end());  // the file has the newest first
              out.histories.push_back(history);
              std::sort(history.begin(), history.end());
              history.erase(std::unique(history.begin(), history.end()), history.end());
              out.seen.push_back(std::move(history));
            });
  return out;
}

}  // namespace tt
