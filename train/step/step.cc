#include <twotower/tensor/files/safetensors.h>
#include <twotower/tensor/kernels/topk/topk.h>
#include <twotower/train/run/checkpoint.h>
#include <twotower/train/run/config.h>
#include <twotower/train/step/step.h>
#include <twotower/train/step/step_batch.h>

#include <algorithm>
#include <numeric>

namespace tt {
namespace {

// Top K of the corpus for each user; with a light ranker, its choice among the num_mips_items best.
void retrieve(const TwoTower<float>& model, const StepBatch& step, Arena& arena, Tensor<const float> corpus,
              SafetensorsWriter& out) {
  const ModelConfig& config = model.config();
  Tape<float> tape(arena, /*recording=*/false);
  const auto served = model.serve(tape, step.batch().user);
  const int64_t b = served.u.rows(), d = corpus.cols();
  const bool ranked = model.light_ranker() != nullptr;
  const int64_t candidates = std::min(ranked ? config.num_mips_items : config.num_items, corpus.rows());
  const int64_t k = std::min(config.num_items, candidates);
  const Tensor<int64_t> ids = make_tensor<int64_t>(arena, {b, candidates});
  const Tensor<float> scores = make_tensor<float>(arena, {b, candidates});
  kernels::mips_topk(served.u.value().data(), b, corpus.data(), corpus.rows(), d, candidates, ids.data(),
                     scores.data());
  const Tensor<int64_t> top_ids = make_tensor<int64_t>(arena, {b, k});
  const Tensor<float> top_scores = make_tensor<float>(arena, {b, k}), values = make_tensor<float>(arena, {candidates}),
                      vectors = make_tensor<float>(arena, {candidates, d});
  const Tensor<int64_t> order = make_tensor<int64_t>(arena, {candidates});
  for (int64_t i = 0; i < b; ++i) {
    std::iota(order.begin(), order.end(), 0);
    std::copy_n(scores.row(i), candidates, values.data());
    if (ranked) {
      for (int64_t c = 0; c < candidates; ++c) std::copy_n(corpus.row(ids.row(i)[c]), d, vectors.row(c));
      model.rank(tape, served.ranker.value().row(i), served.u.value().row(i), vectors, values.data());
      std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t c) {
        return values[a] != values[c] ? values[a] > values[c] : ids.row(i)[a] < ids.row(i)[c];
      });
    }
    for (int64_t j = 0; j < k; ++j) {
      top_ids.row(i)[j] = ids.row(i)[order[j]];
      top_scores.row(i)[j] = values[order[j]];
    }
  }
  out.add("retrieved_items", top_ids.data(), {b, k});
  out.add("retrieved_scores", top_scores.data(), {b, k});
}

}  // namespace

void run_step(const std::string& config_path, const std::string& weights_path, const std::string& batch_path,
              const std::string& out_path) {
  const ModelConfig config = load_model_config(config_path);
  check(config.mixed_negatives == 0 && config.negative_queue == 0 && !config.full_softmax, "step",
        "the softmax of a batch file is over its own items; set mixed_negatives = 0, negative_queue = 0 and "
        "full_softmax = false");
  TwoTower<float> model(config);
  load_model(weights_path, model);
  const StepBatch step(batch_path, config);
  const Tensor<const float> corpus = step.corpus(config.item_id_embedding_dim);

  Arena arena;
  Tape<float> tape(arena);
  const LossOutput<float> loss = model.loss(tape, step.batch());
  const Gradients<float> gradients = tape.backward(loss.total);

  SafetensorsWriter out;
  const int64_t b = step.batch().size(), d = config.item_id_embedding_dim;
  out.add("loss", loss.total.value().data(), {1});
  out.add("user_embedding", loss.u.value().data(), {b, d});
  out.add("item_embedding", loss.v.value().data(), {b, d});
  for (const Parameter<float>* p : model.parameters().all()) {
    std::vector<int64_t> dims;
    for (int i = 0; i < p->value.shape().rank(); ++i) dims.push_back(p->value.shape()[i]);
    const Gradient<float> gradient = gradients.of(*p);
    Tensor<float> grad = gradient.dense;
    if (!grad) {
      grad = tape.make(p->value.shape());
      grad.fill(0);
      add_rows(gradient.rows, grad);
    }
    out.add("grad." + p->name, grad.data(), dims);
  }
  Arena retrieval_arena;
  if (corpus) retrieve(model, step, retrieval_arena, corpus, out);
  out.write(out_path);
}

}  // namespace tt
