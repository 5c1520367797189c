// Caches of several devices as one: all have room or none, and all end at the same position.
#include "model/segmented_cache.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "base/error.h"

namespace gptq::test {
namespace {

/// Has room for some positions, and states that can go back to `marks` alone, if there are any.
class FakeCache final : public KvCache {
 public:
  void join(std::span<KvCache* const> caches) override {
    joined.clear();
    if (length > 0 && !caches.empty()) throw Error(Status::out_of_memory, "the fake is full");
    joined.assign(caches.begin(), caches.end());
  }
  void reserve(int32_t, int64_t wanted) override {
    if (wanted > room) throw Error(Status::out_of_memory, "the fake is full");
    length = std::max(length, wanted);
    ++reserves;
  }
  void mark(int32_t) override { ++marked; }
  int64_t truncate(int32_t, int64_t wanted) override {
    ++truncates;
    int64_t left = std::min(length, wanted);
    if (!marks.empty() && wanted < length) {
      left = 0;
      for (const int64_t mark : marks) left = mark <= wanted ? std::max(left, mark) : left;
    }
    length = left;
    // of a state what is asked for is what is left, if it has seen no more
    return marks.empty() ? wanted : left;
  }
  uint64_t bytes() const override { return static_cast<uint64_t>(length) * 10; }
  uint64_t position_bytes(int64_t layer) const override { return static_cast<uint64_t>(first_bytes + layer); }

  int64_t room = 1000, length = 0, first_bytes = 0;
  std::vector<int64_t> marks;
  std::vector<KvCache*> joined;
  int reserves = 0, truncates = 0, marked = 0;
};

class SegmentedCacheTest : public testing::Test {
 protected:
  /// Layers 0 and 1, 2, 3 to 5.
  SegmentedCacheTest() {
    std::vector<SegmentedCache::Part> parts;
    int64_t first = 0;
    for (const int64_t count : {2, 1, 3}) {
      auto fake = std::make_unique<FakeCache>();
      fake->first_bytes = 100 * (first + 1);
      fakes_.push_back(fake.get());
      parts.push_back({.layers = {first, count}, .cache = std::move(fake)});
      first += count;
    }
    cache_ = std::make_unique<SegmentedCache>(std::move(parts), 2);
  }
  std::vector<int64_t> lengths() const {
    std::vector<int64_t> all;
    for (const FakeCache* fake : fakes_) all.push_back(fake->length);
    return all;
  }
  using All = std::vector<int64_t>;

  std::vector<FakeCache*> fakes_;
  std::unique_ptr<SegmentedCache> cache_;
};

TEST_F(SegmentedCacheTest, AddsUp) {
  cache_->reserve(0, 7);
  EXPECT_EQ(lengths(), (All{7, 7, 7}));
  EXPECT_EQ(cache_->bytes(), 210u);
  const uint64_t wanted[] = {100, 101, 300, 400, 401, 402};
  for (int64_t layer = 0; layer < 6; ++layer)
    EXPECT_EQ(cache_->position_bytes(layer), wanted[static_cast<size_t>(layer)]) << layer;
  cache_->mark(0);
  for (const FakeCache* fake : fakes_) EXPECT_EQ(fake->marked, 1);
  EXPECT_EQ(&cache_->part(1), fakes_[1]);
}

TEST_F(SegmentedCacheTest, HasRoomInAllOrNone) {
  cache_->reserve(0, 7);
  for (size_t full = 0; full < 3; ++full) {
    fakes_[full]->room = 20;
    try {
      cache_->reserve(0, 30);
      ADD_FAILURE() << "there is no room in part " << full;
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), Status::out_of_memory);
    }
    EXPECT_EQ(lengths(), (All{7, 7, 7})) << full;
    fakes_[full]->room = 1000;
  }
  cache_->reserve(0, 30);
  EXPECT_EQ(lengths(), (All{30, 30, 30}));
  EXPECT_EQ(cache_->truncate(0, 9), 9);
  fakes_[2]->room = 20;
  EXPECT_THROW(cache_->reserve(0, 30), Error);
  EXPECT_EQ(lengths(), (All{9, 9, 9}));  // not what it once was
}

TEST_F(SegmentedCacheTest, GoesBackAsFarAsTheFurthest) {
  cache_->reserve(0, 50);
  fakes_[1]->marks = {40};
  EXPECT_EQ(cache_->truncate(0, 50), 50);
  EXPECT_EQ(cache_->truncate(0, 45), 40);
  EXPECT_EQ(lengths(), (All{40, 40, 40}));
  // marks that were taken at different times, as where there was no memory for one of them
  cache_->reserve(0, 50);
  fakes_[0]->marks = {30};
  fakes_[2]->marks = {20, 30};
  EXPECT_EQ(cache_->truncate(0, 49), 0);  // 30, where the second can't go
  EXPECT_EQ(lengths(), (All{0, 0, 0}));
  cache_->reserve(0, 50);
  fakes_[1]->marks = {30, 40};
  EXPECT_EQ(cache_->truncate(0, 49), 30);
  EXPECT_EQ(lengths(), (All{30, 30, 30}));
  EXPECT_EQ(cache_->truncate(0, -3), 0);
}

/// Part by part.
TEST_F(SegmentedCacheTest, JoinsOthers) {
  std::vector<std::unique_ptr<SegmentedCache>> others;
  std::vector<std::vector<KvCache*>> wanted(3);
  std::vector<KvCache*> caches;
  for (int i = 0; i < 2; ++i) {
    std::vector<SegmentedCache::Part> parts;
    for (std::vector<KvCache*>& of_part : wanted) {
      auto fake = std::make_unique<FakeCache>();
      of_part.push_back(fake.get());
      parts.push_back({.layers = {0, 1}, .cache = std::move(fake)});
    }
    others.push_back(std::make_unique<SegmentedCache>(std::move(parts), 1));
    caches.push_back(others.back().get());
  }
  cache_->join(caches);
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(fakes_[i]->joined, wanted[i]);
  // all of it or nothing
  fakes_[1]->length = 1;
  EXPECT_THROW(cache_->join(caches), Error);
  for (const FakeCache* fake : fakes_) EXPECT_TRUE(fake->joined.empty());
  fakes_[1]->length = 0;
  FakeCache whole;
  caches.push_back(&whole);
  EXPECT_THROW(cache_->join(caches), Error);
}

TEST_F(SegmentedCacheTest, RefusesASequenceThatItHasNot) {
  for (const int32_t sequence : {-1, 2}) {
    EXPECT_THROW(cache_->reserve(sequence, 5), Error);
    static_cast<void>(cache_->truncate(sequence, 5));
  }
  for (const FakeCache* fake : fakes_) EXPECT_EQ(fake->reserves, 0);
}

}  // namespace
}  // namespace gptq::test
