#include <twotower/models/bundle/fingerprint.h>
#include <twotower/models/bundle/weights.h>

#include <algorithm>

namespace tt {
namespace {

constexpr int64_t kSamples = 8, kSampleWidth = 16;  // pieces of a weight, and values of a piece

void add_head(Fingerprint& print, const std::string& name, const std::vector<int64_t>& shape) {
  print.add_text(name);
  print.add_number(static_cast<int64_t>(shape.size()));
  for (const int64_t size : shape) print.add_number(size);
}

}  // namespace

int64_t Weight::count() const {
  int64_t n = 1;
  for (const int64_t size : shape) n *= size;
  return n;
}

std::vector<Weight> weights_of(const ParameterSet<float>& parameters) {
  std::vector<Weight> out;
  for (const Parameter<float>* p : parameters.all()) {
    Weight weight{p->name, {}, p->value.data()};
    for (int axis = 0; axis < p->value.shape().rank(); ++axis) weight.shape.push_back(p->value.shape()[axis]);
    out.push_back(std::move(weight));
  }
  return out;
}

std::string fingerprint_of(const std::vector<Weight>& weights) {
  Fingerprint print;
  for (const Weight& weight : weights) {
    add_head(print, weight.name, weight.shape);
    print.add_values(weight.data, weight.count());
  }
  return print.text();
}

std::string sample_of(const std::vector<Weight>& weights) {
  Fingerprint print;
  for (const Weight& weight : weights) {
    add_head(print, weight.name, weight.shape);
    const int64_t n = weight.count(), width = std::min(kSampleWidth, n);
    for (int64_t i = 0; i < kSamples; ++i)  // evenly spaced, the first and the last among them
      print.add_values(weight.data + (n - width) * i / (kSamples - 1), width);
  }
  return print.text();
}

std::string fingerprint_of(const std::map<std::string, TensorEntry>& tensors) {
  Fingerprint print;
  for (const auto& [name, entry] : tensors) {
    add_head(print, name, entry.shape);
    print.add_text(dtype_name(entry.dtype));
    print.add(entry.data, entry.bytes);
  }
  return print.text();
}

}  // namespace tt
