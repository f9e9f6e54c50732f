#include "formats/safetensors_model.h"

#include "base/error.h"
#include "base/json.h"

namespace chunkllm {
namespace {

constexpr const char* kSingleFile = "model.safetensors";
constexpr const char* kIndexFile = "model.safetensors.index.json";
constexpr int64_t kMaxIndexBytes = int64_t{100} << 20;
constexpr size_t kMaxShards = 4096;

// Nothing outside the model's folder is opened because a file says so.
bool is_plain_file_name(const std::string& name) {
  return !name.empty() && name != "." && name != ".." &&
         name.find_first_of(std::string_view("/\\\0", 3)) == std::string::npos;
}

// Tensor names by the file that holds them.
std::map<std::string, std::vector<std::string>> read_index(const std::filesystem::path& path) {
  const std::string where = path.string();
  const nlohmann::json json = read_json_file(path, kMaxIndexBytes);
  const nlohmann::json& map = JsonFields(json, where).at("weight_map");
  if (!map.is_object() || map.empty()) {
    fail(ErrorCode::kData, "{}: weight_map must name a file for each tensor; get the file again",
         where);
  }
  std::map<std::string, std::vector<std::string>> shards;
  for (const auto& [tensor, file] : map.items()) {
    if (!file.is_string() || !is_plain_file_name(file.get_ref<const std::string&>())) {
      fail(ErrorCode::kData, "{}: the file of tensor {} is {}, no plain file name; refused", where,
           show_text(tensor), show_text(file.dump(-1, ' ', true)));
    }
    shards[file.get<std::string>()].push_back(tensor);
    if (shards.size() > kMaxShards) {
      fail(ErrorCode::kData, "{}: names more than {} files; merge some", where, kMaxShards);
    }
  }
  return shards;
}

}  // namespace

SafetensorsModel::SafetensorsModel(const std::filesystem::path& folder) : folder_(folder) {
  const std::filesystem::path index = folder / kIndexFile;
  if (std::filesystem::exists(folder / kSingleFile) || !std::filesystem::exists(index)) {
    files_.emplace_back(folder / kSingleFile);
    for (const auto& [name, tensor] : files_.front().tensors()) {
      file_index_.emplace(name, 0);
      tensors_.emplace(name, tensor);
    }
    return;
  }
  has_index_ = true;
  for (const auto& [file, names] : read_index(index)) {
    files_.emplace_back(folder / file);
    for (const std::string& name : names) {
      const TensorView* tensor = files_.back().find(name);
      if (tensor == nullptr) {
        fail(ErrorCode::kData, "{} has no tensor {}, which {} says it has; get both files again",
             files_.back().path().string(), show_text(name), index.string());
      }
      file_index_.emplace(name, files_.size() - 1);
      tensors_.emplace(name, *tensor);
    }
  }
}

const SafetensorsFile& SafetensorsModel::file_of(std::string_view name) const {
  const auto found = file_index_.find(name);
  if (found == file_index_.end() && has_index_) {
    fail(ErrorCode::kData, "{}: the tensor {} is missing from {}; get the model again",
         folder_.string(), show_text(name), kIndexFile);
  }
  return found == file_index_.end() ? files_.front() : files_[found->second];
}

const TensorView* SafetensorsModel::find(std::string_view name) const {
  const auto tensor = tensors_.find(name);
  return tensor == tensors_.end() ? nullptr : &tensor->second;
}

const TensorView& SafetensorsModel::require(std::string_view name,
                                            const std::vector<int64_t>& shape) const {
  return file_of(name).require(name, shape);
}

std::vector<float> SafetensorsModel::require_floats(std::string_view name,
                                                    const std::vector<int64_t>& shape) const {
  return file_of(name).require_floats(name, shape);
}

void SafetensorsModel::release(const TensorView& tensor) const {
  file_of(tensor.name).release(tensor);
}

std::string SafetensorsModel::place(std::string_view name) const {
  return find(name) == nullptr ? folder_.string() : file_of(name).path().string();
}

}  // namespace chunkllm
