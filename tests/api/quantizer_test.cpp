// A quantization job through the C interface: its steps, and what another thread sees of them.
#include <gptq.h>

#include <atomic>
#include <thread>

#include "support/test_data.h"

namespace {

struct Job {
  gptq::test::TemporaryFolder folder;
  gptq_quantizer* quantizer = nullptr;

  Job() {
    gptq_options* options = nullptr;
    gptq_options_create(&options);
    gptq_options_set_int(options, GPTQ_KEY_CALIBRATION_SAMPLES, 4);
    gptq_options_set_int(options, GPTQ_KEY_CALIBRATION_LENGTH, 64);
    const auto model = (gptq::test::source_dir() / "samples/model").string();
    const auto out = (folder.path() / "out").string();
    EXPECT_EQ(gptq_quantizer_create(model.c_str(), out.c_str(), options, &quantizer), GPTQ_OK)
        << gptq_last_error_message();
    gptq_options_free(options);
  }
  ~Job() { gptq_quantizer_free(quantizer); }

  double stat(const char* key) const {
    double value = -7;
    EXPECT_EQ(gptq_quantizer_get_stat(quantizer, key, &value), GPTQ_OK) << key;
    return value;
  }
};

TEST(QuantizerApi, StepsTellTheirProgress) {
  const Job job;
  const double layers = job.stat("n_layer");
  EXPECT_EQ(layers, 4);
  EXPECT_EQ(job.stat("progress"), 0);
  EXPECT_EQ(job.stat("layer"), 0);
  EXPECT_EQ(job.stat("seconds"), 0);
  EXPECT_EQ(job.stat("seconds_left"), -1);
  double unknown = 1;
  EXPECT_EQ(gptq_quantizer_get_stat(job.quantizer, "layers", &unknown), GPTQ_ERROR_NOT_FOUND);
  EXPECT_EQ(unknown, 0);

  ASSERT_EQ(gptq_quantizer_step(job.quantizer), GPTQ_OK);  // calibration
  EXPECT_EQ(job.stat("layer"), 1);
  for (int layer = 1; layer <= 4; ++layer) {
    ASSERT_EQ(gptq_quantizer_step(job.quantizer), GPTQ_OK);
    EXPECT_EQ(job.stat("progress"), layer / layers);
    EXPECT_EQ(job.stat("layer"), std::min(layer + 1.0, layers));
    EXPECT_GE(job.stat("seconds_left"), 0);
  }
  ASSERT_EQ(gptq_quantizer_step(job.quantizer), GPTQ_DONE);
  EXPECT_EQ(job.stat("progress"), 1);
  EXPECT_EQ(job.stat("seconds_left"), 0);
  EXPECT_GT(job.stat("seconds"), 0);
  EXPECT_EQ(job.stat("seconds"), job.stat("seconds"));
}

TEST(QuantizerApi, AnotherThreadWatchesAndCancels) {
  const Job job;
  std::atomic<bool> over{false};
  std::thread watcher([&] {
    double last = 0;
    while (last < 0.4 && !over) {
      const double now = job.stat("progress");
      EXPECT_GE(now, last);
      last = now;
      std::this_thread::yield();
    }
    EXPECT_EQ(gptq_quantizer_cancel(job.quantizer), GPTQ_OK);
  });
  EXPECT_EQ(gptq_quantizer_run(job.quantizer), GPTQ_ERROR_CANCELLED);
  over = true;
  watcher.join();
  EXPECT_FALSE(std::filesystem::exists(job.folder.path() / "out"));
}

}  // namespace
