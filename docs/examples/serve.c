/* Serves a bundle from C: the best items for a user whom it knows, or for one described in words.
 *
 *   serve_c bundle.safetensors --user u3
 *   serve_c bundle.safetensors age=25 occupation=student --history i50 i181
 *
 *   cc serve.c -o serve_c $(pkg-config --cflags --libs twotower-c)
 */

#include <stdio.h>
#include <string.h>
#include <twotower/twotower.h>

enum { kMost = 100 };

int main(int argc, char** argv) {
  tt_feature features[kMost];
  tt_user user = {.struct_size = sizeof user};
  tt_model* model = NULL;
  tt_session* session = NULL;
  const tt_results* top = NULL;

  if (argc < 3 || argc > kMost) {
    fprintf(stderr, "[serve] give a bundle, and then --user ID or features as column=value, with --history ID...\n");
    return 2;
  }
  for (int i = 2; i < argc; ++i) {
    char* equals = strchr(argv[i], '=');
    if (strcmp(argv[i], "--user") == 0 && i + 1 < argc) {
      user.id = argv[++i];
    } else if (strcmp(argv[i], "--history") == 0) { /* newest first */
      user.history = (const char* const*)argv + i + 1;
      user.num_history = (size_t)(argc - i - 1);
      break;
    } else if (equals != NULL) {
      *equals = 0;
      features[user.num_features].name = argv[i];
      features[user.num_features++].value = equals + 1;
    } else {
      fprintf(stderr, "[serve] \"%s\" is not of the form column=value\n", argv[i]);
      return 2;
    }
  }
  user.features = features;

  int status = 2;
  if (tt_model_open(argv[1], NULL, &model) != TT_OK || tt_session_open(model, NULL, &session) != TT_OK ||
      tt_recommend(session, &user, 1, 10, NULL, &top) != TT_OK) {
    fprintf(stderr, "%s\n", tt_last_error());
  } else {
    if (top->unknown_values + top->unknown_items > 0)
      fprintf(stderr, "note: %lu values and %lu items are not known to the model\n", (unsigned long)top->unknown_values,
              (unsigned long)top->unknown_items);
    for (size_t r = 0; r < top->counts[0]; ++r) printf("%s\t%.4f\t%s\n", top->ids[r], top->scores[r], top->titles[r]);
    status = 0;
  }
  tt_session_close(session); /* NULL does no harm */
  tt_model_close(model);
  return status;
}
