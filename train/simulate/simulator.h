#pragma once
// Makes a dataset whose truth is known: latent preferences, features that are noisy views of them, Zipf
// popularity, slates shown by a biased logging policy, examination by position, user propensity, labels of
// different rarity, and the main ranker's logged scores. See truth.h for how a label is drawn. The result
// depends on the options only, never on the number of threads.
//
// Who chooses does not judge. The first 80% of the visits are train, for all users; of the later ones, those of users
// with an even number are valid (early stopping, settings) and those of the others test. So no epoch or setting is
// chosen by what is known of the users on whom a model is measured, true values and the main ranker's scores included.
// Users are drawn independently of their number, so both halves are alike.

#include <twotower/train/simulate/options.h>

#include <string>

namespace tt {

// Error for options out of their range.
void check_options(const SimulatorOptions& options);

// Writes the dataset folder with truth.safetensors in it. Error for options out of their range, and as
// write_dataset.
void simulate(const std::string& dir, const SimulatorOptions& options);

}  // namespace tt
