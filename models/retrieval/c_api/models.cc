// Models of the C interface: opening, closing, and what they say of themselves.

#include <fcntl.h>
#include <sys/stat.h>
#include <twotower/models/retrieval/c_api/state.h>
#include <twotower/tensor/kernels/isa.h>
#include <unistd.h>

#include <cerrno>

namespace tt::c_api {

Model::Model(std::vector<std::byte> copied, Bundle opened, const tt_open_options& options)
    : bytes(std::move(copied)), bundle(std::move(opened)), live(bundle), log(options.log), log_data(options.log_data) {
  for (const auto& source : bundle.user_encoder().sources()) user_features.push_back(source.name);
  for (const auto& source : bundle.item_encoder().sources()) item_features.push_back(source.name);
  for (const Category& category : bundle.categories()) filter_columns.push_back(category.name);
}

namespace {

// Which of the two a file is that cannot be opened: not there, or no bundle.
void check_readable(const char* path) {
  const std::string where = std::string("bundle ") + path;
  const int file = ::open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0) refuse(TT_ERROR_IO, where, "cannot be opened: ", std::strerror(errno), "; check the path");
  struct stat status {};
  const bool regular = ::fstat(file, &status) == 0 && S_ISREG(status.st_mode);
  ::close(file);
  if (!regular) refuse(TT_ERROR_IO, where, "is not a regular file; give the path of a bundle");
}

template <class Open>
tt_status open_model(const char* where, const tt_open_options* given, tt_model** out, Open open) noexcept {
  tt_open_options options;
  const tt_status status = guarded(TT_ERROR_ARGUMENT, nullptr, [&] {
    need(out, where, "out");
    *out = nullptr;
    options = read_struct(given, where, "options");
    kernels::active_isa();  // TWOTOWER_ISA may be mistaken
  });
  if (status != TT_OK) return status;
  return guarded(TT_ERROR_CORRUPT, nullptr, [&] {
    const bool verify = read_flag(options.verify, where, "options.verify");
    const ThreadScope threads(1);
    const std::shared_ptr<Model> model = open(options, read_flag(options.copy, where, "options.copy"));
    if (verify) model->bundle.verify();
    *out = open_handle<tt_model>(model.get());
    model->self = model;
    model->tell(TT_LOG_INFO, "[bundle ", model->bundle.path(), "] is open: ", model->bundle.num_items(), " items, ",
                model->bundle.num_users(), " users");
  });
}

const char* name_of(tt_model* handle, std::vector<std::string> Model::*names, size_t number) noexcept {
  const Model* model = object_of(handle);
  return model && number < (model->*names).size() ? (model->*names)[number].c_str() : nullptr;
}

}  // namespace
}  // namespace tt::c_api

using namespace tt::c_api;

extern "C" {

tt_status tt_model_open(const char* path, const tt_open_options* options, tt_model** out) {
  return open_model("tt_model_open", options, out, [&](const tt_open_options& own, bool) {
    need(path, "tt_model_open", "path");
    check_readable(path);
    return std::make_shared<Model>(std::vector<std::byte>(), tt::Bundle::open(path), own);
  });
}

tt_status tt_model_open_memory(const void* data, size_t size, const tt_open_options* options, tt_model** out) {
  return open_model("tt_model_open_memory", options, out, [&](const tt_open_options& own, bool copy) {
    need(data, "tt_model_open_memory", "data");
    std::vector<std::byte> bytes;
    if (copy) bytes.assign(static_cast<const std::byte*>(data), static_cast<const std::byte*>(data) + size);
    tt::Bundle bundle = tt::Bundle::view(copy ? bytes.data() : data, size);
    return std::make_shared<Model>(std::move(bytes), std::move(bundle), own);
  });
}

tt_status tt_model_close(tt_model* model) {
  if (!model) return TT_OK;
  return guarded(TT_ERROR_INTERNAL, nullptr, [&] {
    Model* object = close_handle(model);
    if (!object) refuse(TT_ERROR_HANDLE, "tt_model_close", "the model is closed already, or is none");
    const std::shared_ptr<Model> last = std::move(object->self);
  });
}

tt_status tt_model_info(tt_model* model, tt_info* out) {
  return in_model(model, "tt_model_info", TT_ERROR_CORRUPT, [&](Model& m) {
    need(out, "tt_model_info", "out");
    size_t size = 0;
    std::memcpy(&size, out, sizeof size);
    if (size < sizeof(tt_info) || size > 4096)
      refuse(TT_ERROR_ARGUMENT, "tt_model_info", "out: struct_size is ", size, "; set it to sizeof(tt_info), ",
             sizeof(tt_info), " in this version");
    const tt::ModelConfig& config = m.bundle.config();
    const tt::Catalog items = m.live.snapshot();
    tt_info info{};
    info.struct_size = size;
    info.dimension = static_cast<size_t>(config.item_id_embedding_dim);
    info.items = static_cast<size_t>(items.size());
    info.items_available = static_cast<size_t>(items.on_offer());
    info.users = static_cast<size_t>(m.bundle.num_users());
    info.history_length = config.history ? static_cast<size_t>(config.user_history_seqlen) : 0;
    info.candidates = config.light_ranker ? static_cast<size_t>(config.num_mips_items) : 0;
    info.adds_items = config.item_features_size > 0;
    std::memcpy(out, &info, sizeof info);
    std::memset(reinterpret_cast<std::byte*>(out) + sizeof info, 0, size - sizeof info);
  });
}

const char* tt_model_user_feature(tt_model* model, size_t number) {
  return name_of(model, &Model::user_features, number);
}
const char* tt_model_item_feature(tt_model* model, size_t number) {
  return name_of(model, &Model::item_features, number);
}
const char* tt_model_filter_column(tt_model* model, size_t number) {
  return name_of(model, &Model::filter_columns, number);
}

}  // extern "C"
