#include <twotower/tensor/error.h>
#include <twotower/tensor/threads/parallel.h>
#include <twotower/train/optim/weight_average.h>

#include <algorithm>
#include <cmath>

namespace tt {

WeightAverage::WeightAverage(const std::vector<Parameter<float>*>& parameters, double decay) : decay_(decay) {
  check(decay > 0 && decay < 1, "weight average", "decay = ", decay, "; it must be in (0, 1)");
  for (Parameter<float>* p : parameters) {
    const int64_t n = p->value.numel(), units = std::max<int64_t>(p->value.rows(), 1);
    states_.push_back(
        {p, pool_.allocate<float>(n), pool_.allocate<float>(n), pool_.allocate<int64_t>(units), units, n / units});
  }
}

// Step 0 stands for the initial weights, which the average leaves out.
void WeightAverage::count(const State& s, int64_t unit, int64_t done) const {
  const int64_t steps = done - s.counted[unit];
  if (steps <= 0) return;
  s.counted[unit] = done;
  const double fade = steps == 1 ? decay_ : std::pow(decay_, static_cast<double>(steps));
  const auto keep = static_cast<float>(fade), gain = static_cast<float>(1 - fade);
  const float* w = s.parameter->value.data() + unit * s.width;
  float* sum = s.sum + unit * s.width;
  for (int64_t i = 0; i < s.width; ++i) sum[i] = keep * sum[i] + gain * w[i];
}

void WeightAverage::before_step(int64_t done, const Gradients<float>& gradients) {
  for (const State& s : states_) {
    const Gradient<float> gradient = gradients.of(*s.parameter);
    const int64_t* rows = gradient.rows.rows.data();
    const int64_t units = gradient.dense ? s.units : gradient.rows.count();
    parallel_for(0, units, std::max<int64_t>(1, 32768 / std::max<int64_t>(s.width, 1)), [&](int64_t lo, int64_t hi) {
      for (int64_t i = lo; i < hi; ++i) count(s, gradient.dense ? i : rows[i], done);
    });
  }
}

void WeightAverage::apply(int64_t done) {
  check(done >= 1 && !applied_, "weight average", "apply() after ", done, " steps", applied_ ? ", twice" : "",
        "; call it after at least one step, and restore() before the next time");
  applied_ = true;
  const auto scale = static_cast<float>(1 / (1 - std::pow(decay_, static_cast<double>(done))));
  for (const State& s : states_) {
    float* w = s.parameter->value.data();
    std::copy_n(w, s.units * s.width, s.kept);
    parallel_for(0, s.units, std::max<int64_t>(1, 32768 / std::max<int64_t>(s.width, 1)), [&](int64_t lo, int64_t hi) {
      for (int64_t u = lo; u < hi; ++u) count(s, u, done);
      for (int64_t i = lo * s.width; i < hi * s.width; ++i) w[i] = scale * s.sum[i];
    });
  }
}

void WeightAverage::restore() {
  check(applied_, "weight average", "restore() without apply()");
  applied_ = false;
  for (const State& s : states_) std::copy_n(s.kept, s.units * s.width, s.parameter->value.data());
}

void WeightAverage::add_state(SafetensorsWriter& writer) const {
  for (const State& s : states_) {
    writer.add(s.parameter->name + ".average", s.sum, {s.units * s.width});
    writer.add(s.parameter->name + ".counted", s.counted, {s.units});
  }
}

void WeightAverage::load_state(const SafetensorsFile& file) {
  for (const State& s : states_) {
    std::copy_n(file.data<float>(s.parameter->name + ".average", {s.units * s.width}), s.units * s.width, s.sum);
    std::copy_n(file.data<int64_t>(s.parameter->name + ".counted", {s.units}), s.units, s.counted);
  }
}

}  // namespace tt
