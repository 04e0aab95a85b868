#pragma once
// How a bundle is laid out (docs/formats.md, "A bundle"): what its writer and its reader share.

namespace tt::bundle_format {

inline constexpr const char* kFormat = "twotower bundle";
inline constexpr const char *kVersion = "1", *kPackedVersion = "2";  // 2: with packed tables or an index

// Keys of the metadata.
inline constexpr const char *kFormatKey = "format", *kVersionKey = "version", *kModelKey = "model", *kDataKey = "data",
                            *kUserFeaturesKey = "user_features", *kItemFeaturesKey = "item_features",
                            *kWeightsKey = "fingerprint.weights", *kSampleKey = "fingerprint.weights_sample",
                            *kVectorsKey = "fingerprint.vectors", *kServingKey = "fingerprint.serving",
                            *kIndexKey = "index", *kIndexTensorsKey = "fingerprint.index",
                            *kHeaderKey = "fingerprint.header";

// Tensors of the two sides and of the index begin so; every other tensor is a weight under its checkpoint name.
inline constexpr const char *kItems = "items.", *kUsers = "users.", *kCategory = "items.category.", *kIndex = "index.";

inline constexpr const char *kUserTable = "user_id_embedding_arch.weight",
                            *kItemTable = "item_id_embedding_arch.weight", *kVectors = "items.vectors";

// NAME.scale [rows] is what the rows of NAME in int8 are to be multiplied by.
inline constexpr const char* kScale = ".scale";

}  // namespace tt::bundle_format
