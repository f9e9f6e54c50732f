#include "kernels/linear/precision.h"

#include "kernels/machine/kernel_set.h"

namespace chunkllm {

std::string_view product_type_name(ProductType type) {
  switch (type) {
    case ProductType::kF32:
      return "f32";
    case ProductType::kBf16:
      return "bf16";
  }
  return "?";
}

bool bf16_products_available() { return active_kernels().tile_product != nullptr; }

}  // namespace chunkllm
