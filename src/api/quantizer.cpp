#include "api/buffer.h"
#include "api/handles.h"
#include "api/options.h"
#include "api/stats.h"
#include "base/text.h"

using namespace gptq;

namespace {

using StatRow = api::StatRow<JobProgress>;

constexpr std::array kStats{
    StatRow{"progress", [](const JobProgress& p) { return p.fraction; }},
    StatRow{"layer", [](const JobProgress& p) { return static_cast<double>(p.layer); }},
    StatRow{"n_layer", [](const JobProgress& p) { return static_cast<double>(p.layers); }},
    StatRow{"seconds", [](const JobProgress& p) { return p.seconds; }},
    StatRow{"layers_kept", [](const JobProgress& p) { return static_cast<double>(p.layers_kept); }},
    StatRow{"seconds_left", [](const JobProgress& p) { return p.seconds_left; }},
};

}  // namespace

gptq_status gptq_quantizer_create(const char* model_path, const char* output_path,
                                  const gptq_options* options, gptq_quantizer** out) {
  return api::guard([&] {
    api::require(out, "out");
    *out = nullptr;
    api::require(model_path, "model_path");
    api::require(output_path, "output_path");
    auto handle = std::make_unique<gptq_quantizer>();
    handle->job = std::make_unique<Job>(model_path, output_path, api::model_options(options),
                                        api::quant_options(options), api::progress_of(options));
    *out = handle.release();
  });
}

void gptq_quantizer_free(gptq_quantizer* quantizer) { delete quantizer; }

gptq_status gptq_quantizer_add_calibration_text(gptq_quantizer* quantizer, const char* text, int64_t len) {
  return api::enter(quantizer, "quantizer",
                    [&] { quantizer->job->add_text(api::text_argument(text, len, "text")); });
}

gptq_status gptq_quantizer_add_calibration_tokens(gptq_quantizer* quantizer, const int32_t* ids,
                                                  int64_t count) {
  return api::enter(quantizer, "quantizer",
                    [&] { quantizer->job->add_tokens(api::ids_argument(ids, count)); });
}

gptq_status gptq_quantizer_step(gptq_quantizer* quantizer) {
  return api::enter(quantizer, "quantizer",
                    [&] { return quantizer->job->step() == JobStep::done ? GPTQ_DONE : GPTQ_OK; });
}

gptq_status gptq_quantizer_run(gptq_quantizer* quantizer) {
  return api::enter(quantizer, "quantizer", [&] {
    while (quantizer->job->step() == JobStep::more) continue;
  });
}

gptq_status gptq_quantizer_cancel(const gptq_quantizer* quantizer) {
  return api::guard([&] {
    api::require(quantizer, "quantizer");
    quantizer->job->cancel();
  });
}

gptq_status gptq_quantizer_get_stat(const gptq_quantizer* quantizer, const char* key, double* out) {
  return api::guard([&] {
    api::require(out, "out");
    *out = 0;
    api::require(quantizer, "quantizer");
    api::require(key, "key");
    *out = api::stat(kStats, key, quantizer->job->progress(), "a quantizer");
  });
}

const char* gptq_quantizer_error_message(const gptq_quantizer* quantizer) {
  return quantizer != nullptr ? quantizer->error.c_str() : "";
}

gptq_status gptq_quantizer_report_json(const gptq_quantizer* quantizer, gptq_buffer** out_json) {
  return api::guard([&] {
    api::require(out_json, "out_json");
    *out_json = nullptr;
    api::require(quantizer, "quantizer");
    *out_json = api::text_buffer(quantizer->job->report());
  });
}
