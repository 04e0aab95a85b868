#include <twotower/models/debias.h>
#include <twotower/train/data/positives.h>
#include <twotower/train/evaluate/examination.h>

#include <algorithm>

namespace tt {
namespace {

constexpr int kRounds = 50;

// How often an item stood in a slot.
struct Cell {
  int32_t item, slot;
  double shown;
};

}  // namespace

double ExaminationCurve::of(int32_t position) const {
  if (slots.empty()) return 1;
  if (position < 0) return unknown;
  return slots[std::min(static_cast<size_t>(position), slots.size() - 1)];
}

ExaminationCurve estimate_examination(const Dataset& data) {
  ExaminationCurve curve;
  if (!data.has_positions()) return curve;
  const Impressions& log = data.split(Split::train);
  const int64_t tasks = data.num_tasks();
  std::vector<std::pair<int32_t, int32_t>> rows;  // (item, slot)
  std::vector<double> slot_acts(kPositions, 0), slot_shown(kPositions, 0),
      item_acts(static_cast<size_t>(data.num_items()), 0);
  for (int64_t i = 0; i < log.size; ++i) {
    if (log.position[i] < 0) continue;
    const int32_t slot = std::min<int32_t>(log.position[i], kPositions - 1);
    rows.emplace_back(log.item[i], slot);
    slot_shown[static_cast<size_t>(slot)] += 1;
    if (!acted_on(log.labels + i * tasks, tasks)) continue;
    slot_acts[static_cast<size_t>(slot)] += 1, item_acts[static_cast<size_t>(log.item[i])] += 1;
  }
  if (rows.empty()) return curve;
  std::sort(rows.begin(), rows.end());
  std::vector<Cell> cells;
  for (const auto& [item, slot] : rows) {
    if (cells.empty() || cells.back().item != item || cells.back().slot != slot) cells.push_back({item, slot, 0});
    cells.back().shown += 1;
  }

  std::vector<double> examination(kPositions, 1), relevance(item_acts.size());
  for (int round = 0; round < kRounds; ++round) {
    std::vector<double> exposure(item_acts.size(), 0), expected(kPositions, 0);
    for (const Cell& c : cells)
      exposure[static_cast<size_t>(c.item)] += c.shown * examination[static_cast<size_t>(c.slot)];
    for (size_t i = 0; i < relevance.size(); ++i) relevance[i] = exposure[i] > 0 ? item_acts[i] / exposure[i] : 0;
    for (const Cell& c : cells)
      expected[static_cast<size_t>(c.slot)] += c.shown * relevance[static_cast<size_t>(c.item)];
    for (size_t p = 0; p < examination.size(); ++p)
      examination[p] = expected[p] > 0 ? slot_acts[p] / expected[p] : kLeastExamination;
    const double most = *std::max_element(examination.begin(), examination.end());
    for (double& e : examination) e = most > 0 ? std::max(e / most, kLeastExamination) : 1;
  }
  double sum = 0;
  for (const Cell& c : cells) sum += c.shown * examination[static_cast<size_t>(c.slot)];
  curve.unknown = sum / static_cast<double>(rows.size());
  for (size_t p = 0; p < examination.size(); ++p)  // a slot that training never used
    if (slot_shown[p] == 0) examination[p] = curve.unknown;
  curve.slots = std::move(examination);
  return curve;
}

}  // namespace tt
