// Models, adapters and data that cannot be trusted or do not fit: exit 1, naming the file.

#include "cli/bad_input.h"

namespace chunkllm {
namespace {

using Json = nlohmann::ordered_json;
using Parts = std::vector<std::string>;

constexpr const char* kWeights = "model.safetensors";
constexpr const char* kAdapterWeights = "adapter_model.safetensors";
constexpr const char* kTrainAgain = "the adapter is damaged; copy it again";
constexpr const char* kNorm = "model.layers.1.input_layernorm.weight";
constexpr const char* kMatrix = "model.layers.0.mlp.down_proj.weight";

class BadFile : public testing::TestWithParam<BadInput> {};

TEST_P(BadFile, EndsInOneLine) { check_bad_input(GetParam()); }

BadInput folder_case(std::string name, Parts parts,
                     std::function<std::string(const Scratch&)> make_model) {
  return {std::move(name), kFailure, std::move(parts),
          [make_model](const Scratch& scratch) { return generate_with(make_model(scratch)); }};
}

BadInput config_case(std::string name, Parts parts, std::function<void(Json&)> edit) {
  parts.push_back("config.json");
  return folder_case(std::move(name), std::move(parts), [edit](const Scratch& scratch) {
    return scratch.with_json(needle_model(), "config.json", edit);
  });
}

BadInput tensor_case(std::string name, Parts parts, std::function<void(TensorFile&)> edit) {
  parts.push_back(kWeights);
  return {std::move(name), kFailure, std::move(parts), [edit](const Scratch& scratch) {
            return bench_with(scratch.with_tensors(tiny_llama(), kWeights, edit));
          }};
}

// `quantize` on a model whose tensors are edited.
BadInput quantize_case(std::string name, Parts parts, std::function<void(TensorFile&)> edit) {
  return {std::move(name), kFailure, std::move(parts), [edit](const Scratch& scratch) {
            const std::string model = scratch.with_tensors(tiny_llama(), kWeights, edit);
            return Command{{"quantize", model, scratch / "out", "--type", "bf16"}};
          }};
}

// Appends a tensor of bf16 zeros.
void add_tensor(TensorFile& file, const std::string& name, int64_t n_rows, int64_t n_cols) {
  const size_t begin = file.data.size();
  file.data.resize(begin + static_cast<size_t>(2 * n_rows * n_cols));
  file.header[name] = {
      {"dtype", "BF16"}, {"shape", {n_rows, n_cols}}, {"data_offsets", {begin, file.data.size()}}};
}

void rename_tensor(TensorFile& file, const char* from, const char* to) {
  file.header[to] = file.header[from];
  file.header.erase(from);
}

BadInput adapter_case(std::string name, Parts parts,
                      std::function<std::string(const Scratch&)> make_adapter) {
  return {std::move(name), kFailure, std::move(parts), [make_adapter](const Scratch& scratch) {
            return generate_with(needle_model(), {"--adapter", make_adapter(scratch)});
          }};
}

BadInput adapter_config_case(std::string name, Parts parts, std::function<void(Json&)> edit) {
  parts.push_back("adapter");
  return adapter_case(std::move(name), std::move(parts), [edit](const Scratch& scratch) {
    return scratch.with_json(needle_adapter(), "adapter_config.json", edit);
  });
}

BadInput adapter_tensor_case(std::string name, Parts parts, std::function<void(TensorFile&)> edit) {
  parts.push_back(kAdapterWeights);
  return adapter_case(std::move(name), std::move(parts), [edit](const Scratch& scratch) {
    return scratch.with_tensors(needle_adapter(), kAdapterWeights, edit);
  });
}

BadInput data_case(std::string name, Parts parts, const std::string& file_name, std::string text) {
  return {std::move(name), kFailure, std::move(parts), [file_name, text](const Scratch& scratch) {
            Command command{train_arguments(scratch)};
            *std::next(std::ranges::find(command.arguments, "--data")) =
                scratch.file(file_name, text);
            return command;
          }};
}

INSTANTIATE_TEST_SUITE_P(
    Folder, BadFile,
    testing::Values(
        folder_case("no_model_folder", {"nowhere", "No such file"},
                    [](const Scratch& scratch) { return scratch / "nowhere"; }),
        folder_case("model_is_a_device",
                    {"/dev/null is neither a folder nor a regular file", "GGUF"},
                    [](const Scratch&) { return std::string("/dev/null"); }),
        folder_case("model_is_a_text", {"note.txt is no GGUF file; give the folder"},
                    [](const Scratch& scratch) { return scratch.file("note.txt", "hello"); }),
        folder_case("model_path_with_newline", {"no  where", "No such file"},
                    [](const Scratch& scratch) { return scratch / "no \nwhere"; }),
        folder_case("no_config", {"no model's folder", "config.json", "GGUF"},
                    [](const Scratch& s) { return s.without(needle_model(), "config.json"); }),
        folder_case("cut_config", {"config.json"},
                    [](const Scratch& s) { return s.truncated(needle_model(), "config.json"); }),
        folder_case("empty_config", {"config.json"},
                    [](const Scratch& s) { return s.truncated(needle_model(), "config.json", 0); }),
        folder_case("no_tokenizer", {"tokenizer.json", "copy"},
                    [](const Scratch& s) { return s.without(needle_model(), "tokenizer.json"); }),
        folder_case("cut_tokenizer", {"tokenizer.json"},
                    [](const Scratch& s) { return s.truncated(needle_model(), "tokenizer.json"); }),
        folder_case("tokenizer_of_nothing", {"tokenizer.json"},
                    [](const Scratch& s) {
                      return s.with_text(needle_model(), "tokenizer.json", "{}");
                    }),
        folder_case("no_weights", {kWeights, "No such file"},
                    [](const Scratch& s) { return s.without(needle_model(), kWeights); }),
        folder_case("cut_weights", {kWeights},
                    [](const Scratch& s) { return s.truncated(needle_model(), kWeights); }),
        folder_case("empty_weights", {kWeights, "get the file again"},
                    [](const Scratch& s) { return s.truncated(needle_model(), kWeights, 0); }),
        folder_case("index_without_weight_map", {"model.safetensors.index.json", "weight_map"},
                    [](const Scratch& s) {
                      const std::string copy = s.without(needle_model(), kWeights);
                      write_text(copy + "/model.safetensors.index.json", "{}");
                      return copy;
                    }),
        BadInput{"inspect_nothing",
                 kFailure,
                 {"nowhere", "does not exist"},
                 [](const Scratch& s) {
                   return Command{{"inspect", s / "nowhere"}};
                 }},
        BadInput{"inspect_other_file",
                 kFailure,
                 {"text.txt", ".safetensors"},
                 [](const Scratch& s) {
                   return Command{{"inspect", s.file("text.txt", "x")}};
                 }},
        BadInput{"inspect_bad_file",
                 kFailure,
                 {"x.safetensors", "get the file again"},
                 [](const Scratch& s) {
                   return Command{{"inspect", s.file("x.safetensors", "no tensors here")}};
                 }},
        BadInput{"inspect_model_without_tensors",
                 kFailure,
                 {kWeights, "model.embed_tokens.weight", "missing"},
                 [](const Scratch& s) {
                   const auto clear = [](TensorFile& file) { file = {Json::object(), ""}; };
                   return Command{{"inspect", s.with_tensors(needle_model(), kWeights, clear)}};
                 }},
        BadInput{"inspect_model_without_a_tensor",
                 kFailure,
                 {kWeights, kMatrix, "missing"},
                 [](const Scratch& s) {
                   const auto rename = [](TensorFile& file) {
                     file.header["other"] = file.header[kMatrix];
                     file.header.erase(kMatrix);
                   };
                   return Command{{"inspect", s.with_tensors(needle_model(), kWeights, rename)}};
                 }},
        BadInput{"tokenizer_of_older_form",
                 kFailure,
                 {"tokenizer.json", "save_pretrained"},
                 [](const Scratch& s) {
                   const std::string copy = s.without(needle_model(), "tokenizer.json");
                   write_text(copy + "/vocab.json", "{}");
                   write_text(copy + "/merges.txt", "");
                   return generate_with(copy);
                 }},
        BadInput{"prompt_file_missing",
                 kFailure,
                 {"nowhere.txt", "check the path"},
                 [](const Scratch& s) {
                   return Command{
                       {"generate", "--model", needle_model(), "--prompt-file", s / "nowhere.txt"}};
                 }},
        BadInput{"prompt_file_is_folder",
                 kFailure,
                 {"folder"},
                 [](const Scratch&) {
                   return Command{
                       {"generate", "--model", needle_model(), "--prompt-file", needle_model()}};
                 }}),
    bad_input_name);

INSTANTIATE_TEST_SUITE_P(
    Config, BadFile,
    testing::Values(config_case("model_type", {"model_type", "gpt2", "llama"},
                                [](Json& json) { json["model_type"] = "gpt2"; }),
                    config_case("model_type_number", {"model_type"},
                                [](Json& json) { json["model_type"] = 3; }),
                    config_case("no_model_type", {"model_type"},
                                [](Json& json) { json.erase("model_type"); }),
                    config_case("rope_type", {"rope_scaling", "longrope", "yarn"},
                                [](Json& json) {
                                  json.erase("rope_parameters");
                                  json["rope_scaling"] = {{"rope_type", "longrope"}};
                                }),
                    config_case("quantised", {"quantization_config"},
                                [](Json& json) {
                                  json["quantization_config"] = {{"bits", 4}};
                                }),
                    config_case("sliding_window", {"sliding_window"},
                                [](Json& json) { json["sliding_window"] = 4096; }),
                    config_case("hidden_act", {"hidden_act", "gelu", "silu"},
                                [](Json& json) { json["hidden_act"] = "gelu"; }),
                    config_case("head_dim_7", {"head_dim 7", "multiples of 8"},
                                [](Json& json) { json["head_dim"] = 7; }),
                    config_case("zero_layers", {"num_hidden_layers"},
                                [](Json& json) { json["num_hidden_layers"] = 0; }),
                    config_case("width_as_fraction", {"hidden_size", "integer", "256.0"},
                                [](Json& json) { json["hidden_size"] = 256.0; }),
                    config_case("huge_vocabulary", {"vocab_size"},
                                [](Json& json) { json["vocab_size"] = int64_t{1} << 60; }),
                    config_case("heads_no_multiple", {"num_key_value_heads 3"},
                                [](Json& json) { json["num_key_value_heads"] = 3; }),
                    config_case("epsilon_text", {"rms_norm_eps"},
                                [](Json& json) { json["rms_norm_eps"] = "small"; }),
                    folder_case("eos_text", {"generation_config.json", "eos_token_id"},
                                [](const Scratch& scratch) {
                                  return scratch.with_json(
                                      needle_model(), "generation_config.json",
                                      [](Json& json) { json["eos_token_id"] = "end"; });
                                })),
    bad_input_name);

INSTANTIATE_TEST_SUITE_P(
    Tensors, BadFile,
    testing::Values(
        BadInput{"header_beyond_file",
                 kFailure,
                 {kWeights, "cut short", "get the file again"},
                 [](const Scratch& scratch) {
                   std::string bytes = read_text(tiny_llama() / kWeights);
                   bytes[3] = '\x05';
                   return bench_with(scratch.with_text(tiny_llama(), kWeights, bytes));
                 }},
        BadInput{"header_no_json",
                 kFailure,
                 {kWeights, "header"},
                 [](const Scratch& scratch) {
                   std::string bytes = read_text(tiny_llama() / kWeights);
                   bytes[9] = '!';
                   return bench_with(scratch.with_text(tiny_llama(), kWeights, bytes));
                 }},
        tensor_case("overlapping_tensors", {"overlaps", "get the file again"},
                    [](TensorFile& file) {
                      file.header["model.layers.1.input_layernorm.weight"]["data_offsets"] =
                          file.header["model.layers.0.input_layernorm.weight"]["data_offsets"];
                    }),
        tensor_case("tensor_beyond_file", {kMatrix, "not inside"},
                    [](TensorFile& file) {
                      file.header[kMatrix]["data_offsets"] = {0, int64_t{1} << 40};
                    }),
        tensor_case("tensor_backwards", {kMatrix, "not inside"},
                    [](TensorFile& file) {
                      file.header[kMatrix]["data_offsets"] = {100, 50};
                    }),
        tensor_case("tensor_shape_overflow", {kMatrix, "does not take"},
                    [](TensorFile& file) {
                      file.header[kMatrix]["shape"] = {int64_t{1} << 40, int64_t{1} << 40};
                    }),
        tensor_case("tensor_negative_shape", {kMatrix, "shape"},
                    [](TensorFile& file) {
                      file.header[kMatrix]["shape"] = {-1, 5};
                    }),
        tensor_case("bytes_left_over", {"belong to no tensor"},
                    [](TensorFile& file) { file.data += "more"; }),
        tensor_case("unknown_dtype", {kMatrix, "F8_E4M3", "convert"},
                    [](TensorFile& file) { file.header[kMatrix]["dtype"] = "F8_E4M3"; }),
        tensor_case("integer_weights", {kMatrix, "must be F32, F16 or BF16"},
                    [](TensorFile& file) {
                      Json& tensor = file.header[kMatrix];
                      const int64_t begin = tensor["data_offsets"][0];
                      const int64_t end = tensor["data_offsets"][1];
                      const int64_t n =
                          tensor["shape"][0].get<int64_t>() * tensor["shape"][1].get<int64_t>();
                      tensor["dtype"] = "U8";
                      // Where an element takes more bytes, the rest becomes a tensor of its own.
                      tensor["data_offsets"][1] = begin + n;
                      file.header["rest"] = {{"dtype", "U8"},
                                             {"shape", {end - begin - n}},
                                             {"data_offsets", {begin + n, end}}};
                    }),
        tensor_case("wrong_shape", {kMatrix, "shape", "expected"},
                    [](TensorFile& file) {
                      Json& shape = file.header[kMatrix]["shape"];
                      shape = {shape[1], shape[0]};
                    }),
        tensor_case("missing_tensor", {kMatrix, "missing"},
                    [](TensorFile& file) {
                      file.header["other"] = file.header[kMatrix];
                      file.header.erase(kMatrix);
                    }),
        tensor_case("nan_norm", {kNorm, "nan", "element 3"},
                    [](TensorFile& file) { file.set_nan(kNorm, 3); }),
        tensor_case("bias_tensor", {"bias", "not supported"},
                    [](TensorFile& file) {
                      file.header["model.layers.0.self_attn.q_proj.bias"] = file.header[kMatrix];
                      file.header.erase(kMatrix);
                    })),
    bad_input_name);

constexpr const char* kQueries = "model.layers.0.self_attn.q_proj.weight";

INSTANTIATE_TEST_SUITE_P(
    Quantize, BadFile,
    testing::Values(
        quantize_case("quantize_wrong_shape", {kQueries, "shape", "expected"},
                      [](TensorFile& file) {
                        file.header[kQueries]["shape"] = {64, 96};
                      }),
        quantize_case("quantize_missing_tensor", {kMatrix, "missing"},
                      [](TensorFile& file) { rename_tensor(file, kMatrix, "other"); }),
        quantize_case("quantize_missing_head", {"lm_head.weight", "missing"},
                      [](TensorFile& file) { rename_tensor(file, "lm_head.weight", "other"); }),
        quantize_case("quantize_no_whole_heads", {"blk.7.attn_q.weight", "no whole heads of 24"},
                      [](TensorFile& file) {
                        add_tensor(file, "model.layers.7.self_attn.q_proj.weight", 5, 64);
                      }),
        quantize_case("quantize_empty_tensor", {"blk.7.ffn_up.weight", "only vectors and matrices"},
                      [](TensorFile& file) {
                        add_tensor(file, "model.layers.7.mlp.up_proj.weight", 64, 0);
                      })),
    bad_input_name);

INSTANTIATE_TEST_SUITE_P(
    Adapters, BadFile,
    testing::Values(
        adapter_case("no_adapter_folder", {"nowhere", "No such file"},
                     [](const Scratch& scratch) { return scratch / "nowhere"; }),
        adapter_case("no_adapter_weights", {kAdapterWeights, "No such file"},
                     [](const Scratch& s) { return s.without(needle_adapter(), kAdapterWeights); }),
        adapter_case("cut_adapter_config", {"adapter_config.json", kTrainAgain},
                     [](const Scratch& s) {
                       return s.truncated(needle_adapter(), "adapter_config.json");
                     }),
        adapter_case("cut_adapter_weights", {kAdapterWeights, kTrainAgain},
                     [](const Scratch& s) {
                       return s.truncated(needle_adapter(), kAdapterWeights);
                     }),
        adapter_tensor_case(
            "nan_adapter", {"layers.2.q_adapter.weight", "nan", "element 17", kTrainAgain},
            [](TensorFile& file) { file.set_nan("layers.2.q_adapter.weight", 17); }),
        adapter_tensor_case("nan_boundary", {"chunk_adapter.bias", "nan"},
                            [](TensorFile& file) { file.set_nan("chunk_adapter.bias", 0); }),
        adapter_tensor_case("missing_adapter_tensor",
                            {"layers.2.k_adapter.weight", "missing", kTrainAgain},
                            [](TensorFile& file) {
                              file.header["other"] = file.header["layers.2.k_adapter.weight"];
                              file.header.erase("layers.2.k_adapter.weight");
                            }),
        adapter_config_case("adapter_of_others", {"format", "chunkllm"},
                            [](Json& json) { json["format"] = "lora"; }),
        adapter_config_case("adapter_too_new", {"version 9", "update"},
                            [](Json& json) { json["version"] = 9; }),
        adapter_config_case("adapter_of_other_weights", {"another model", "fingerprint", "train"},
                            [](Json& json) { json["fingerprint"] = std::string(64, '0'); }),
        adapter_config_case("adapter_dim_wrong",
                            {"_adapter.weight", "shape", "expected", kTrainAgain},
                            [](Json& json) {
                              json["adapter_dim"] = json["adapter_dim"].get<int>() / 2;
                              json.erase("training");
                            }),
        adapter_config_case("adapter_heads_for_dim",
                            {"adapter_config.json", "adapter_dim is 1 with 64 selection_heads",
                             "training had 64", kTrainAgain},
                            [](Json& json) {
                              json["selection_heads"] = 64;
                              json["adapter_dim"] = 1;
                            }),
        adapter_config_case("adapter_null_field", {"\"selection_heads\" is null", kTrainAgain},
                            [](Json& json) { json["selection_heads"] = nullptr; }),
        adapter_config_case("adapter_huge_chunks", {"\"max_chunk\" is 4097", kTrainAgain},
                            [](Json& json) { json["max_chunk"] = 4097; }),
        adapter_config_case("adapter_huge_window", {"\"window\" is 1048577", kTrainAgain},
                            [](Json& json) { json["window"] = 1048577; }),
        adapter_config_case("adapter_huge_grid", {"\"grid\" is 4097", kTrainAgain},
                            [](Json& json) { json["first_layer"]["grid"] = 4097; }),
        adapter_config_case("adapter_least_above_most", {"\"min_chunk\" is 129, outside 1 to 128"},
                            [](Json& json) { json["min_chunk"] = 129; }),
        adapter_config_case("adapter_too_few_layers",
                            {"adapter_config.json: its fingerprint is the model's",
                             "number of layers is 5, the model's 6", kTrainAgain},
                            [](Json& json) { json["num_hidden_layers"] = 5; }),
        adapter_config_case("adapter_too_many_layers",
                            {"layers.6.q_adapter.weight is missing",
                             "adapter_config.json has 7 layers", kTrainAgain},
                            [](Json& json) { json["num_hidden_layers"] = 7; }),
        adapter_config_case("alpha_2", {"alpha"}, [](Json& json) { json["alpha"] = 2; }),
        BadInput{"adapter_of_other_shape",
                 kFailure,
                 {"another model", "number of layers", "train adapters"},
                 [](const Scratch&) {
                   return bench_with(tiny_llama(), {"--adapter", needle_adapter()});
                 }},
        BadInput{"inspect_cut_adapter",
                 kFailure,
                 {kAdapterWeights, kTrainAgain},
                 [](const Scratch& s) {
                   return Command{{"inspect", s.truncated(needle_adapter(), kAdapterWeights)}};
                 }},
        BadInput{"inspect_adapter_of_other_shape",
                 kFailure,
                 {"another model", "number of layers"},
                 [](const Scratch&) {
                   return Command{{"inspect", tiny_llama(), "--adapter", needle_adapter()}};
                 }},
        BadInput{"model_as_adapter",
                 kFailure,
                 {"adapter_config.json", "No such file"},
                 [](const Scratch&) {
                   return generate_with(needle_model(), {"--adapter", needle_model()});
                 }}),
    bad_input_name);

INSTANTIATE_TEST_SUITE_P(
    Data, BadFile,
    testing::Values(
        data_case("bad_utf8_text", {"bad.txt", "UTF-8", "byte 6"}, "bad.txt", "Fine. \xff Not."),
        data_case("bad_utf8_line", {"bad.jsonl", "line 2"}, "bad.jsonl",
                  "{\"text\": \"Fine.\"}\n{\"text\": \"\xff\"}\n"),
        data_case("line_no_json", {"bad.jsonl", "line 1", "mend this line"}, "bad.jsonl",
                  "no json\n"),
        data_case("line_without_text", {"bad.jsonl", "line 1", "text"}, "bad.jsonl",
                  "{\"body\": \"Fine.\"}\n"),
        data_case("empty_data", {"empty.txt", "no text"}, "empty.txt", ""),
        data_case("other_data", {"data.csv", ".jsonl"}, "data.csv", "a,b\n"),
        BadInput{"missing_data",
                 kFailure,
                 {"nowhere", "does not exist"},
                 [](const Scratch& scratch) {
                   return Command{train_arguments(scratch, {"--eval-data", scratch / "nowhere"})};
                 }},
        BadInput{"train_without_tokenizer",
                 kFailure,
                 {"tokenizer.json"},
                 [](const Scratch& scratch) {
                   Command command{train_arguments(scratch)};
                   *std::next(std::ranges::find(command.arguments, "--model")) = tiny_llama();
                   return command;
                 }},
        BadInput{"train_huge_adapters",
                 kFailure,
                 {"64 heads of 65536", "needs", "available", "--adapter-dim"},
                 [](const Scratch& scratch) {
                   return Command{train_arguments(
                       scratch, {"--adapter-dim", "65536", "--selection-heads", "64"})};
                 }},
        BadInput{"train_into_adapters",
                 kUsage,
                 {"holds adapters already", "another --out"},
                 [](const Scratch& scratch) {
                   std::filesystem::create_directory(scratch.path("mine"));
                   for (const char* name : {"adapter_config.json", kAdapterWeights}) {
                     std::filesystem::create_symlink(needle_adapter() / name,
                                                     scratch.path("mine") / name);
                   }
                   Command command{train_arguments(scratch)};
                   *std::next(std::ranges::find(command.arguments, "--out")) = scratch / "mine";
                   return command;
                 }},
        BadInput{"train_huge_sequences",
                 kFailure,
                 {"needs", "available", "--seq-len"},
                 [](const Scratch& scratch) {
                   Command command{train_arguments(scratch)};
                   *std::next(std::ranges::find(command.arguments, "--seq-len")) = "1099511627776";
                   return command;
                 }}),
    bad_input_name);

}  // namespace
}  // namespace chunkllm
