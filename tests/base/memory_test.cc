#include "base/memory.h"

#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "testing/expect_error.h"

namespace chunkllm {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;

TEST(Memory, BytesAreWrittenForPeople) {
  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_bytes(17), "17 B");
  EXPECT_EQ(format_bytes(1023), "1023 B");
  EXPECT_EQ(format_bytes(1024), "1.0 KiB");
  EXPECT_EQ(format_bytes(3 * kMiB + kMiB / 5), "3.2 MiB");
  EXPECT_EQ(format_bytes(int64_t{1} << 60), "1024.0 PiB");
}

TEST(Memory, AvailableMemoryIsMoreThanATestNeeds) {
  EXPECT_GT(available_memory_bytes(), 16 * kMiB);
  EXPECT_LT(available_memory_bytes(), int64_t{1} << 50);
}

TEST(Memory, RequireNamesBothNumbers) {
  EXPECT_NO_THROW(require_memory(1, "a byte", "try nothing"));
  expect_error(ErrorCode::kMemory, "needs 8192.0 PiB for the cache; ", [] {
    require_memory(std::numeric_limits<int64_t>::max(), "the cache", "try a smaller one");
  });
  expect_error(ErrorCode::kMemory, "available; try a smaller one", [] {
    require_memory(std::numeric_limits<int64_t>::max(), "the cache", "try a smaller one");
  });
}

TEST(Memory, PeakGrowsWithTouchedMemory) {
  const int64_t before = peak_rss_bytes();
  // The peak may lie above what is resident now, so more is touched than was ever resident.
  const std::vector<char> touched(static_cast<size_t>(before + 64 * kMiB), 'x');
  EXPECT_EQ(touched.back(), 'x');
  EXPECT_GE(peak_rss_bytes(), before + 64 * kMiB);
}

TEST(ReservedBuffer, UntouchedPagesAreZeroAndCostNothing) {
  constexpr size_t kSize = size_t{1} << 40;  // more than any test machine has
  const ReservedBuffer buffer(kSize);
  ASSERT_NE(buffer.data(), nullptr);
  EXPECT_EQ(buffer.size_bytes(), kSize);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % 4096, 0u);
  EXPECT_EQ(buffer.data()[kSize - 1], std::byte{0});
  buffer.data()[kSize / 2] = std::byte{7};
  EXPECT_EQ(buffer.data()[kSize / 2], std::byte{7});
}

TEST(ReservedBuffer, MovingLeavesNothingBehind) {
  ReservedBuffer a(4096);
  std::byte* place = a.data();
  ReservedBuffer b(std::move(a));
  EXPECT_EQ(b.data(), place);
  ReservedBuffer c;
  EXPECT_EQ(c.data(), nullptr);
  c = std::move(b);
  EXPECT_EQ(c.data(), place);
  EXPECT_EQ(c.size_bytes(), 4096u);
  EXPECT_EQ(ReservedBuffer(0).data(), nullptr);
}

TEST(ReservedBuffer, MoreThanTheAddressSpaceIsRefused) {
  expect_error(ErrorCode::kMemory, "cannot reserve", [] { ReservedBuffer(size_t{1} << 60); });
}

}  // namespace
}  // namespace chunkllm
