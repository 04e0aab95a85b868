#pragma once
// How a bundle is laid out (docs/formats.md, "A bundle"): what its writer and its reader share.

namespace tt::bundle_format {

inline constexpr const char* kFormat = "twotower bundle";
inline constexpr const char* kVersion = "1";

// Keys of the metadata.
inline constexpr const char *kFormatKey = "format", *kVersionKey = "version", *kModelKey = "model", *kDataKey = "data",
                            *kUserFeaturesKey = "user_features", *kItemFeaturesKey = "item_features",
                            *kWeightsKey = "fingerprint.weights", *kSampleKey = "fingerprint.weights_sample",
                            *kVectorsKey = "fingerprint.vectors", *kServingKey = "fingerprint.serving",
                            *kHeaderKey = "fingerprint.header";

// Tensors of the two sides begin so; every other tensor is a weight under its checkpoint name.
inline constexpr const char *kItems = "items.", *kUsers = "users.", *kCategory = "items.category.";

inline constexpr const char* kUserTable = "user_id_embedding_arch.weight";

}  // namespace tt::bundle_format
