// Serves a bundle: the best items for a user whom it knows, or for one described in words.
//
//   serve bundle.safetensors --user u3
//   serve bundle.safetensors age=25 occupation=student --history i50,i181
//
// It links the library `twotower` alone: no trainer, no dataset, no command line or file format but the bundle's.

#include <twotower/models/retrieval/recommender.h>
#include <twotower/tensor/error.h>

#include <cstdio>
#include <string_view>
#include <vector>

namespace {

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    const size_t end = std::min(text.find(separator), text.size());
    parts.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parts;
}

void serve(const std::vector<std::string_view>& arguments) {
  tt::check(arguments.size() >= 2, "serve",
            "give a bundle, and then --user ID or the features of a new user as column=value, with --history i1,i2");
  const tt::Bundle bundle = tt::Bundle::open(std::string(arguments[0]));
  const tt::Recommender recommender(bundle);
  tt::Session session;  // one for each thread that serves
  tt::TopItems top;
  if (arguments[1] == "--user" && arguments.size() == 3) {
    recommender.recommend(session, arguments[2], {.k = 10}, top);
  } else {
    std::vector<tt::NamedValue> features;
    std::vector<std::string_view> history;
    for (size_t i = 1; i < arguments.size(); ++i) {
      const size_t equals = arguments[i].find('=');
      if (arguments[i] == "--history" && i + 1 < arguments.size())
        history = split(arguments[++i], ',');
      else if (equals != std::string_view::npos)
        features.push_back({arguments[i].substr(0, equals), arguments[i].substr(equals + 1)});
      else
        tt::fail("serve", "\"", arguments[i], "\" is not of the form column=value");
    }
    const tt::Unknown unknown =
        recommender.recommend(session, {.features = features, .history = history}, {.k = 10}, top);
    if (unknown.values + unknown.items > 0)
      std::fprintf(stderr, "note: %ld values and %ld items are not known to the model\n",
                   static_cast<long>(unknown.values), static_cast<long>(unknown.items));
  }
  for (size_t r = 0; r < top.items(0).size(); ++r) {
    const std::string id(session.catalog().id(top.items(0)[r])), title(session.catalog().title(top.items(0)[r]));
    std::printf("%s\t%.4f\t%s\n", id.c_str(), static_cast<double>(top.scores(0)[r]), title.c_str());
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    serve({argv + 1, argv + argc});
    return 0;
  } catch (const tt::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 2;
  }
}
