// The user's mistakes: each is one line that says where, what and how to mend it, and status 2; nothing stays
// behind.

#include <doctest/doctest.h>

#include <sstream>

#include "tests/commands/program.h"

using namespace tt;
using namespace tt::testing;
namespace fs = std::filesystem;

namespace {

// A small dataset D, a run R on it, and files that are not what they should be.
struct World : TempFolder {
  World() {
    REQUIRE(
        run({"simulate", "--out", "D", "--users", "40", "--items", "30", "--impressions", "800", "--quiet"}).status ==
        0);
    REQUIRE(run({"train", "--data", "D", "--out", "R", "--set", "epochs=1", "--quiet"}).status == 0);
    file("empty", "");
    file("binary", std::string("\x7f"
                               "ELF\0\1\2\xff\xfe\n\n\0",
                               12));
    file("r.csv", "user,item,rating\na,x,5\nb,y,1\na,y,4\n");
    file("wide.csv", "user,item,rating\na,x,5,6\n");
    file("bad.toml", "[model]\nhistroy = true\n");
    fs::create_directory(path() + "/full");
    file("full/of-something", "x");
  }
  Outcome run(const Arguments& a) const { return run_program(path(), a); }

  // Names and times of all files: to see whether a command left or changed something.
  std::string listing() const {
    std::vector<std::string> lines;
    for (const auto& entry : fs::recursive_directory_iterator(path())) {
      const std::string name = entry.path().filename();
      if (name == "stdout.txt" || name == "stderr.txt" || entry.is_directory()) continue;
      lines.push_back(entry.path().string() + " " + std::to_string(entry.last_write_time().time_since_epoch().count()));
    }
    std::sort(lines.begin(), lines.end());
    std::string all;
    for (const std::string& line : lines) all += line + "\n";
    return all;
  }
};

struct Mistake {
  const char* arguments;  // separated by spaces
  const char* message;    // part of it
};

const Mistake kMistakes[] = {
    // the command line
    {"", "[command line]"},
    {"trian", "did you mean \"train\"?"},
    {"train --data D", "--out is required; see twotower train --help"},
    {"evaluate --run R --bogus", "--bogus; see twotower evaluate --help"},
    {"simulate --out X --users 9 --users 10", "--users is given more than once; keep one"},
    {"simulate --out X --seed -1", "\"-1\" is not a whole number >= 0"},
    {"retrieve --run R --user u1 --threads 0", "\"0\" is not a whole number 1..1024"},
    {"retrieve --run R --user u1 -k -4", "\"-4\" is not a whole number 1.."},
    {"evaluate --run R --k ten", "\"ten\" is not a whole number"},
    // what is asked for
    {"simulate --out X --users 0", "[simulate] --users is 0, outside"},
    {"simulate --out X --zipf nan", "[simulate] --zipf is nan"},
    {"simulate --out full", "is not a dataset, so it is not replaced"},
    {"train --data nowhere --out X", "[dataset nowhere] is not there"},
    {"train --data full --out X", "has no dataset.json"},
    {"train --data D --out full", "holds no run; choose another --out"},
    {"train --data D --out D", "holds no run; choose another --out"},
    {"train --data D --out X --model bsae", "choose one of base, history"},
    {"train --data D --out X --config nowhere.toml", "[config nowhere.toml] cannot be read"},
    {"train --data D --out X --config full", "[config full] is a folder"},
    {"train --data D --out X --config binary", "[config binary:1]"},
    {"train --data D --out X --config bad.toml", "did you mean \"model.history\"?"},
    {"train --data D --out X --set epochs", "not of the form key=value"},
    {"train --data D --out X --set epochs=many", "it must be a whole number"},
    {"train --data D --out X --set learning_rate=inf", "it must be a finite number"},
    {"train --data D --out X --set user_value_weights=[inf,1,1]", "a list of finite numbers"},
    {"train --data D --out X --set monitor=recall@7", "is not a measure of this dataset"},
    {"train --data D --out X --set negative_queue=99999999999", "[memory]"},
    {"evaluate --run nowhere", "[run nowhere] there is no config.toml"},
    {"evaluate --run D", "[run D] there is no config.toml"},
    {"evaluate --run R --k 31", "is larger than the corpus of 30 items"},
    {"evaluate --run R --split tset", "\"tset\" is not a split"},
    {"evaluate --run R --baselines popularity,markof", "no baseline \"markof\"; did you mean \"markov\"?"},
    {"evaluate --run R --baselines oracle-of-all",
     "choose from popularity, recent, itemknn, markov, ease, als, als_ranker, random, or all"},
    {"evaluate --run R --baselines ease --no-baselines", "--baselines and --no-baselines contradict each other"},
    {"evaluate --run R --set ease.l3=1", "no baseline has a key \"ease.l3\"; did you mean \"ease.l2\"?"},
    {"evaluate --run R --set als.width=1.5", "als.width is a whole number from 1 to 1000000"},
    {"evaluate --run R --set als.l2=0", "als.l2 is a number above 0"},
    {"evaluate --run R --by age", "[evaluate] --by age: users are told apart by \"impressions\" alone"},
    {"evaluate --run R --candidates 20", "[retrieve] --candidates 20 are for a light ranker to put in order"},
    {"retrieve --run R --user u1 --candidates 20", "and this model has none; leave --candidates out"},
    {"retrieve --run R", "no user is given"},
    {"retrieve --run R --user nobody", "there is no user \"nobody\""},
    {"retrieve --run R --user u1 -k 31", "larger than the corpus"},
    {"retrieve --run R --users nowhere", "cannot read nowhere"},
    {"retrieve --run R --users D", "cannot read D"},
    {"retrieve --run R --users empty", "empty holds no user"},
    {"retrieve --run R --users binary", "there is no user \"\\x7fELF"},
    {"retrieve --run R --users-from binary", "so the file is no text"},
    {"retrieve --run R --items-from empty --user u1", "[import empty] is empty"},
    {"retrieve --run R --user u1 --only-new", "give --items-from FILE"},
    {"retrieve --run R --user u1 --index fast", "fast not in {exact,fp16,int8,hnsw}"},
    {"retrieve --user u1", "give one of --run RUN and --bundle FILE"},
    {"retrieve --run R --bundle R/bundle.safetensors --user u1", "give one of --run RUN and --bundle FILE"},
    {"retrieve --bundle R/weights.safetensors --user u1", "is no bundle"},
    {"retrieve --bundle nowhere --user u1", "cannot be opened"},
    {"retrieve --run R --user u1 --where genre", "is not of the form column=value"},
    {"retrieve --run R --user u1 --where nowhere=x", "items have no column \"nowhere\" of categories"},
    {"pack --run nowhere --out X", "[run nowhere] there is no config.toml"},
    {"pack --run R --out nowhere/X", "make its folder first"},
    {"pack --run R --out X --index fast", "fast not in {exact,fp16,int8,hnsw}"},
    {"pack --run R --out X --index hnsw --index-recall 2", "[hnsw] a recall of 2 cannot be reached"},
    {"pack --run R --out X --index hnsw --index-links 1", "[hnsw] a row cannot have 1 links"},
    {"export --run R --out X.npy", "give one of --items, --users and --onnx"},
    {"export --run R --items --out X.txt", "must end in .npy, .safetensors, .fbin, .jsonl or .csv"},
    {"export --run R --items --out nowhere/X.npy", "make its folder first"},
    {"export --run R --items --out R/bundle.safetensors",
     "[export] R/bundle.safetensors is the bundle that is exported, which would be lost; choose another name"},
    {"export --run R --onnx R/../R/bundle.safetensors", "is the bundle that is exported, which would be lost"},
    {"pack --run R --out R/weights.safetensors",
     "[pack] R/weights.safetensors is a file of the run, which would be lost; choose another name"},
    {"pack --run R --out R/../R/config.toml", "is a file of the run, which would be lost"},
    {"inspect nowhere", "does not exist"},
    {"inspect binary", "[safetensors binary]"},
    {"inspect empty", "is truncated"},
    {"inspect full", "neither a dataset"},
    {"step --config R/config.toml --weights binary --batch binary --out X", "[safetensors binary]"},
    {"step --config binary --weights R/weights.safetensors --batch binary --out X", "[config binary:1]"},
    {"demo --out empty", "[dataset empty/drifting/data] cannot be written"},
    {"demo --out empty --data D", "[train empty/base] the folder cannot be made"},
    {"demo --out X --models bsae", "choose one of base, history"},
    {"demo --out X --set epohcs=3", "did you mean \"train.epochs\"?"},
    {"demo --out X --users 0", "[simulate] --users is 0, outside"},
    {"demo --out X --items 11", "are on offer at some time"},
    {"demo --out X --world nonsense", "[demo] --world \"nonsense\" is unknown; choose both, drifting or static"},
    {"demo --out X --world static --data D", "--data excludes --world; see twotower demo --help"},
    // other people's files
    {"import excel --train r.csv --out X", "choose recbole, csv, lists or sequences"},
    {"import csv --train nowhere --out X", "[import nowhere] cannot be opened"},
    {"import csv --train full --out X", "is a folder; give a file"},
    {"import csv --train empty --out X", "[import empty] is empty"},
    {"import csv --train binary --out X", "so the file is no text"},
    {"import lists --train binary --out X", "so the file is no text"},
    {"import lists --train full --out X", "is a folder; give a file"},
    {"import csv --train r.csv --delimiter ; --out X", "single column, \"user,item,rating\"; say what stands between"},
    {"import csv --train r.csv --out .", "has no name of its own"},
    {"import csv --train r.csv --out r.csv", "[dataset r.csv] exists and is not a folder"},
    {"import csv --train wide.csv --out X", "[import wide.csv:2] has 4 fields, the header has 3"},
    {"import csv --train r.csv --columns user=who --out X", "the header has no column \"who\""},
    {"import csv --train r.csv --label like=rating --out X", "[import r.csv:2] column \"rating\": 5 is outside [0, 1]"},
    {"import csv --train r.csv --split time:0.8 --out X", "has no times"},
    {"import recbole --inter r.csv --out X", "has no type in the header"},
};

Arguments words(const std::string& text) {
  Arguments out;
  std::istringstream stream(text);
  for (std::string word; stream >> word;) out.push_back(word);
  return out;
}

}  // namespace

TEST_CASE("program: a mistake is one line and status 2, and leaves nothing") {
  const World world;
  const std::string before = world.listing();
  for (const Mistake& mistake : kMistakes) {
    Arguments arguments = words(mistake.arguments);
    const bool progress =
        !arguments.empty() && (arguments[0] == "import" || arguments[0] == "demo" || arguments[0] == "simulate");
    if (progress) arguments.push_back("--quiet");
    const Outcome o = world.run(arguments);
    CAPTURE(mistake.arguments);
    CAPTURE(o.status);
    CAPTURE(o.err);
    CAPTURE(o.out);
    CHECK(mistake_of(o).find(mistake.message) != std::string::npos);
    CHECK(world.listing() == before);
    CHECK(!fs::exists(world.path() + "/X"));
  }
}

TEST_CASE("program: a run whose files are not its own") {
  const World world;
  const std::string at = world.path() + "/R/", weights = read_whole_file(at + "weights.safetensors"),
                    bundle = read_whole_file(at + "bundle.safetensors"), config = read_whole_file(at + "config.toml");
  const auto retrieve = [&] { return mistake_of(world.run({"retrieve", "--run", "R", "--user", "u1"})); };
  const auto pack = [&] { return mistake_of(world.run({"pack", "--run", "R", "--out", "P"})); };
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string changed = config;
    const size_t place = changed.find(from);
    REQUIRE(place != std::string::npos);
    world.file("R/config.toml", changed.replace(place, from.size(), to));
    const std::string text = pack();
    world.file("R/config.toml", config);
    CHECK(!fs::exists(world.path() + "/P"));
    return text;
  };
  REQUIRE(world.run({"retrieve", "--run", "R", "--user", "u1"}).status == 0);
  CHECK(with("history = false", "history = true").find("is missing") != std::string::npos);
  CHECK(with("user_id_embedding_dim = 64", "user_id_embedding_dim = 8").find("[40, 8]") != std::string::npos);
  CHECK(with("[train]", "[trian]").find("unknown table or key \"trian\"") != std::string::npos);
  CHECK(with("data_rows = '", "data_rows = '0").find("are not those that R was trained on") != std::string::npos);

  world.file("R/bundle.safetensors", bundle.substr(0, bundle.size() - 4));
  CHECK(retrieve().find("is truncated") != std::string::npos);
  world.file("R/bundle.safetensors", bundle.substr(0, 300));
  CHECK(retrieve().find("is truncated") != std::string::npos);
  std::string bad = bundle;
  bad[8] = '!';
  world.file("R/bundle.safetensors", bad);
  CHECK(retrieve().find("not valid JSON") != std::string::npos);
  world.file("R/bundle.safetensors", weights);
  CHECK(retrieve().find("is no bundle: its metadata does not say so") != std::string::npos);
  fs::remove(at + "bundle.safetensors");
  CHECK(retrieve() ==
        "[run R] there is no bundle.safetensors; make it with `twotower pack --run R --out R/bundle.safetensors`");
  CHECK(world.run({"pack", "--run", "R", "--out", "R/bundle.safetensors"}).status == 0);
  CHECK(read_whole_file(at + "bundle.safetensors") == bundle);  // the very one that training left

  world.file("R/weights.safetensors", weights.substr(0, weights.size() - 4));
  CHECK(pack().find("is truncated") != std::string::npos);
  fs::remove(at + "weights.safetensors");
  CHECK(pack().find("go on with `twotower train --resume`") != std::string::npos);
}

TEST_CASE("program: a dataset with a damaged file") {
  const World world;
  for (const char* name : {"users", "items", "history", "train", "valid"}) {
    CAPTURE(name);
    const std::string file = std::string("D/") + name + ".safetensors",
                      good = read_whole_file(world.path() + "/" + file);
    world.file(file, good.substr(0, good.size() / 2));
    const std::string message = mistake_of(world.run({"train", "--data", "D", "--out", "X", "--quiet"}));
    CHECK(message.find(file) != std::string::npos);
    CHECK(!fs::exists(world.path() + "/X"));
    world.file(file, good);
  }
  world.file("D/dataset.json", "{}");
  CHECK(mistake_of(world.run({"inspect", "D"})).find("make it again") != std::string::npos);
}
