#include <twotower/models/retrieval/index/stored_index.h>
#include <twotower/models/retrieval/save_bundle.h>
#include <twotower/tensor/error.h>

#include <algorithm>
#include <cstring>
#include <memory>

namespace tt {
namespace {

BundleUsers users_of(const Bundle& bundle) {
  BundleUsers users;
  users.ids = bundle.user_ids();
  users.learnt = bundle.learnt_users().data();
  const int64_t n = bundle.num_users();
  if (n > 0 && !bundle.user_features(0).empty()) users.features = bundle.user_features(0).data();
  users.history_offsets = users.seen_offsets = {0};
  const auto append = [](auto& to, auto from) { to.insert(to.end(), from.begin(), from.end()); };
  for (int64_t u = 0; u < n; ++u) {
    append(users.history_items, bundle.user_history(u));
    append(users.history_actions, bundle.user_history_actions(u));
    append(users.seen_items, bundle.seen(u));
    users.history_offsets.push_back(static_cast<int64_t>(users.history_items.size()));
    users.seen_offsets.push_back(static_cast<int64_t>(users.seen_items.size()));
  }
  return users;
}

// Items in the order in which they are written, with the memory that a BundleItems is a view of.
struct Collected {
  std::vector<std::string_view> ids;
  std::vector<float> vectors;
  std::vector<uint8_t> learnt, available, removed;
  std::vector<CategoryCodes> codes;

  // What grows by doubling would at times hold the vectors three times.
  void reserve(int64_t items, int64_t width) {
    const auto n = static_cast<size_t>(items);
    ids.reserve(n), vectors.reserve(n * static_cast<size_t>(width));
    learnt.reserve(n), available.reserve(n), removed.reserve(n);
    for (CategoryCodes& column : codes) column.offsets.reserve(n + 1);
  }
  void add(const CatalogPart& part, int64_t place, std::string_view id, bool learnt_item, bool on_offer, bool gone) {
    ids.push_back(id);
    const Tensor<const float> all = part.vectors();
    vectors.insert(vectors.end(), all.row(place), all.row(place) + all.cols());
    learnt.push_back(learnt_item), available.push_back(on_offer), removed.push_back(gone);
    for (size_t c = 0; c < codes.size(); ++c) codes[c].add(part.categories()[c].of(place));
  }
};

bool same(Tensor<const float> a, Tensor<const float> b) {
  return a.shape() == b.shape() && std::memcmp(a.data(), b.data(), static_cast<size_t>(a.numel()) * sizeof(float)) == 0;
}

}  // namespace

void save_bundle(const std::string& path, const Bundle& bundle, const Catalog& items) {
  const CatalogPart& base = items.base();
  check(base.size() == bundle.num_items() && items.weights() == bundle.weights_fingerprint(), "save",
        "the items are of another bundle; give those of this one");
  Collected all;
  all.codes.resize(bundle.categories().size());
  int64_t most = base.size();
  for (const LivePart& segment : items.segments()) most += segment.there_count;
  all.reserve(most, items.width());
  const auto part_of = [&](int64_t row, int64_t& place) -> const CatalogPart& {
    for (const LivePart& segment : items.segments())
      if ((place = segment.part->place(row)) >= 0) return *segment.part;
    place = row;
    return base;
  };
  for (int64_t r = 0; r < base.size(); ++r) {
    const std::string_view id = base.ids().text(r);
    const auto row = items.contains(r) ? std::optional<int64_t>(r) : items.find(id);
    int64_t place = r;
    const CatalogPart& part = row && *row != r ? part_of(*row, place) : base;
    const bool learnt = bundle.learnt_items()[static_cast<size_t>(r)] != 0;
    all.add(part, place, id, learnt, row && items.available(*row), !row);
  }
  for (const LivePart& segment : items.segments())
    for (int64_t place = 0; place < segment.part->size(); ++place)
      if (segment.is_there(place) && segment.part->base_row(place) < 0)
        all.add(*segment.part, place, segment.part->ids().text(place), false, segment.is_offered(place), false);

  const auto n = static_cast<int64_t>(all.ids.size());
  const OwnedIds ids(all.ids);
  BundleContent content;
  content.model = &bundle.model();
  content.user_encoder = bundle.user_encoder(), content.item_encoder = bundle.item_encoder();
  content.items.ids = ids.table();
  content.items.vectors = {all.vectors.data(), {n, base.vectors().cols()}};
  content.items.learnt = all.learnt.data();
  const auto any = [](const std::vector<uint8_t>& flags, uint8_t value) {
    return std::find(flags.begin(), flags.end(), value) != flags.end();
  };
  if (any(all.available, 0)) content.items.available = all.available.data();
  if (any(all.removed, 1)) content.items.removed = all.removed.data();
  for (size_t c = 0; c < all.codes.size(); ++c) {
    Category category = bundle.categories()[c];
    category.offsets = all.codes[c].offsets.data(), category.codes = all.codes[c].codes.data();
    category.rows = n, category.count = static_cast<int64_t>(all.codes[c].codes.size());
    content.items.categories.push_back(std::move(category));
  }
  if (bundle.title()) content.items.title = bundle.title()->name;
  const BundleUsers users = bundle.has_users() ? users_of(bundle) : BundleUsers();
  if (bundle.has_users()) content.users = &users;
  content.data = bundle.data();
  std::shared_ptr<const Index> built;
  if (same(content.items.vectors, bundle.item_vectors())) {
    content.index = index_parts(bundle);
  } else if (!bundle.index_facts().empty()) {
    built = index_like(bundle, content.items.vectors);
    content.index = index_parts(*built, content.items.vectors);
  }
  write_bundle(path, content);
}

}  // namespace tt
