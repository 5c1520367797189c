// Model folders of the extra data, as parameters of tests.
#pragma once

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace gptq::test {

/// All folders below `kind` ("families", "gptq"), but for families that are not built yet; `kind` alone, for which a test
/// skips, where there is no extra data.
std::vector<std::string> checkpoints(const std::string& kind);

/// Of such a folder, in the letters that a test's name may have.
std::string folder_test_name(const testing::TestParamInfo<std::string>& info);

}  // namespace gptq::test
