// Every op's float value and gradients against its double ones: the float path has kernels of its own.

#include <doctest/doctest.h>
#include <twotower/tensor/gemm.h>
#include <twotower/tensor/kernels/isa.h>

#include <atomic>
#include <cmath>
#include <optional>

#include "tests/autograd/cases.h"

using namespace tt;

namespace {

struct Result {
  std::vector<double> numbers;  // the value, then each input's gradient
};

template <class T, class F>
Result run(const testing::Case& c, F f) {
  Pool pool;
  Arena arena;
  Tape<T> tape(arena);
  testing::Inputs<T> inputs;
  for (size_t i = 0; i < c.inputs.size(); ++i) {
    const Tensor<T> x = make_tensor<T>(pool, c.inputs[i]);
    testing::fill(c, i, x);
    inputs.push_back(tape.variable(x));
  }
  const Variable<T> y = f(tape, inputs);
  const Gradients<T> gradients = tape.backward(y, testing::numbers<T>(tape, y.shape(), 99));
  Result result;
  for (const T v : y.value()) result.numbers.push_back(static_cast<double>(v));
  for (const auto& x : inputs)
    for (const T g : gradients.of(x)) result.numbers.push_back(static_cast<double>(g));
  return result;
}

void compare_all() {
  for (const testing::Case& c : testing::cases()) {
    INFO("op ", c.op);
    const Result exact = run<double>(c, c.in_double), found = run<float>(c, c.in_float);
    REQUIRE(exact.numbers.size() == found.numbers.size());
    for (size_t i = 0; i < exact.numbers.size(); ++i)
      CHECK(found.numbers[i] == doctest::Approx(exact.numbers[i]).epsilon(2e-5).scale(1));
  }
}

}  // namespace

TEST_CASE("float agrees with double in every op, on every instruction set and both GEMMs") {
  static std::atomic<int64_t> products[3];  // by backend
  observe_gemm([](const GemmCall& call) { ++products[static_cast<int>(call.backend)]; });
  std::vector<GemmBackend> backends = {GemmBackend::own};
  if (*onednn_version()) backends.push_back(GemmBackend::onednn);
  const kernels::Isa before = kernels::active_isa();
  for (const kernels::Isa isa : kernels::supported_isas()) {
    kernels::set_isa(isa);
    for (const GemmBackend backend : backends) {
      for (auto& count : products) count = 0;
      force_gemm_backend(backend);
      INFO("isa ", static_cast<int>(isa), ", GEMM backend ", static_cast<int>(backend));
      compare_all();
      for (const GemmBackend any : {GemmBackend::own, GemmBackend::onednn})
        CHECK((products[static_cast<int>(any)] > 0) == (any == backend));
    }
  }
  observe_gemm(nullptr);
  force_gemm_backend(std::nullopt);
  kernels::set_isa(before);
}
