#pragma once
// Compares the gradients of a computation with central differences, in double, on the very code that ships.

#include <twotower/autograd/tape.h>

#include <functional>
#include <set>
#include <string>
#include <vector>

namespace tt {

struct GradcheckReport {
  double worst = 0;           // largest |analytic - numeric| / (1 + max(|analytic|, |numeric|))
  std::string where;          // the parameter and element it belongs to
  std::set<std::string> ops;  // the ops that stood on the tape
};

// Checks dL/dp for every element of every parameter, where
//   L = <R, f> + <R', f> + sum_p <C, p>
// with f evaluated twice and random R, R', C made from `seed`: so upstream gradients are not all one, inputs are used
// more than once, and gradients are non-zero before f's own share arrives. f must be smooth around the values given.
GradcheckReport gradcheck(const std::vector<Parameter<double>*>& parameters,
                          const std::function<Variable<double>(Tape<double>&)>& f, uint64_t seed = 1,
                          double step = 1e-5);

}  // namespace tt
