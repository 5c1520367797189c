// What fake plugins do.
#pragma once

#define GPTQ_FAKE_GOOD 0
#define GPTQ_FAKE_WITHOUT_ENTRY 1
#define GPTQ_FAKE_NULL 2
#define GPTQ_FAKE_THROWS 3
#define GPTQ_FAKE_OTHER_BUILD 4

// what the devices of the good one do
inline constexpr int kWorks = 0, kNoDriver = 1, kThrowsInt = 2, kThrowsBadAlloc = 3;
