#include <twotower/models/retrieval/encode_items.h>

#include <algorithm>

namespace tt {

void encode_items(const TwoTower<float>& model, const ItemRows& items, float* out) {
  Arena arena;
  Tape<float> tape(arena, /*recording=*/false);
  encode_items(model, items, arena, tape, out);
}

void encode_items(const TwoTower<float>& model, const ItemRows& items, Arena& arena, Tape<float>& tape, float* out) {
  constexpr int64_t kTile = 4096;
  const int64_t width = model.config().item_features_size, d = model.config().item_id_embedding_dim;
  tape.reset();  // also after a call that threw
  for (int64_t lo = 0; lo < items.count; lo += kTile) {
    const int64_t n = std::min(kTile, items.count - lo);
    const Tensor<int64_t> id = make_tensor<int64_t>(arena, {n});
    for (int64_t i = 0; i < n; ++i)
      id[i] = items.ids ? items.ids[lo + i] : items.learnt && items.learnt[lo + i] ? lo + i : -1;
    ItemInputs<float> inputs;
    inputs.id = id;
    if (width > 0) inputs.features = {items.features + lo * width, {n, width}};
    const Tensor<float> v = model.items(tape, inputs).value();
    std::copy(v.begin(), v.end(), out + lo * d);
    tape.reset();
  }
}

}  // namespace tt
