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

// Checks dL/dp for every element of every parameter, for two losses made from random R, R', C (of `seed`):
//   L = <R, f>                            every gradient arrives where nothing is yet
//   L = <R, f> + <R', f> + sum_p <C, p>   inputs are used more than once, gradients are there before f's own share
// f is evaluated anew each time and must be smooth around the values given.
GradcheckReport gradcheck(const std::vector<Parameter<double>*>& parameters,
                          const std::function<Variable<double>(Tape<double>&)>& f, uint64_t seed = 1,
                          double step = 1e-5);

}  // namespace tt
