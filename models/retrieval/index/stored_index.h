#pragma once
// The index in a bundle (docs/formats.md, "The index"): built once, then used where it lies in the mapped file.

#include <twotower/models/bundle/bundle.h>
#include <twotower/models/bundle/writer.h>
#include <twotower/models/retrieval/index/make_index.h>

#include <memory>
#include <string>

namespace tt {

// The bundle's index, a view of it; an exact one where it holds none. Throws Error where what is stored is no index of
// a kind known here or does not fit the items.
std::shared_ptr<const Index> stored_index(const Bundle& bundle);

// The index of this kind: the bundle's own where that is the kind, else built now. kind "": the bundle's own.
std::shared_ptr<const Index> index_of(const Bundle& bundle, std::string_view kind);

// An index over other vectors, of the same kind as the bundle's own and, for "hnsw", with as many links.
std::shared_ptr<const Index> index_like(const Bundle& bundle, Tensor<const float> vectors);

// What a bundle holds of an index over these item vectors; nothing of "exact". Views of both.
BundleIndex index_parts(const Index& index, Tensor<const float> vectors);
// What this bundle holds.
BundleIndex index_parts(const Bundle& bundle);

// The bundle's file anew with an index of its item vectors in it, in the place of one that it may have, and that index.
// "exact" stores nothing. Atomic; `path` may be the bundle's own. Errors as make_index's and the writer's.
std::shared_ptr<const Index> write_with_index(const std::string& path, const Bundle& bundle, std::string_view kind,
                                              const HnswOptions& options = {});

}  // namespace tt
